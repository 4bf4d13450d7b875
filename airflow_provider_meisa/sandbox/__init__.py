"""A sandbox of Meisa on your own machine: the documented HTTP API, its rate limits, and faults on demand."""
