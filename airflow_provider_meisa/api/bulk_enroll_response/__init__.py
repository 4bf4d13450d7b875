"""The reader of the one response whose shape is not documented."""
