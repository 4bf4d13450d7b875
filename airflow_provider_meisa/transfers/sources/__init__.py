"""Sources of records: databases and files."""
