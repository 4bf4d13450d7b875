"""Transfers: from a database or a file to Meisa."""
