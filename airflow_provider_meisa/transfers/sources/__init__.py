"""Where records come from: databases and files."""
