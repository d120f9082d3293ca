"""The relay: upstream's pages and files for the builders, by the index host, which alone has the credentials for them."""
