"""Links from the Airflow UI into the Meisa dashboard."""
