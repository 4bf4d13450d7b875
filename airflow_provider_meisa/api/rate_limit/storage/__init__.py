"""Where the use of a key is kept."""
