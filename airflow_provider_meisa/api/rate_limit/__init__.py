"""A limiter for the requests of a key, which everyone who uses the key shares."""
