"""Tasks that wait for Meisa."""
