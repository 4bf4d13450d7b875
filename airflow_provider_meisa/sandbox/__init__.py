"""A Meisa on your own machine: the documented HTTP API, its limits and its faults, and nothing real."""
