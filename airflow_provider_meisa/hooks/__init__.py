"""The hook: from an Airflow Connection to a Meisa client."""
