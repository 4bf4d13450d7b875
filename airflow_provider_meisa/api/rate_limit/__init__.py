"""A rate limiter for an API key, shared by all users of the key."""
