"""Stores for the rate limits of a key."""
