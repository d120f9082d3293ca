"""Host keys: who a host is, by the key that its ssh server showed at first contact, kept in a known_hosts file."""
