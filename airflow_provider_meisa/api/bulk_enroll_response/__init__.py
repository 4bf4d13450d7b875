"""Read the response to a bulk enrollment, whose shape is not documented."""
