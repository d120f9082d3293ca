"""A rack of hosts on one machine: Debian with systemd and sshd in systemd-nspawn, armv7l ones among them. See README.md."""
