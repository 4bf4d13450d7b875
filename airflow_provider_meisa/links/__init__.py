"""Links from the Airflow UI to the Meisa dashboard."""
