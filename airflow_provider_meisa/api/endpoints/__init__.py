"""Meisa's endpoints: one file for each heading of its reference, each call written once."""
