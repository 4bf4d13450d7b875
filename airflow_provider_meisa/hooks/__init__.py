"""From an Airflow Connection to a Meisa client."""
