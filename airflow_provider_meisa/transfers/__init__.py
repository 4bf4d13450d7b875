"""Audiences from elsewhere into sequences: from a database, from a file."""
