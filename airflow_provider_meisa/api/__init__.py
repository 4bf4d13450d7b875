"""Meisa in Python: client, endpoints, audience and verdicts. Knows nothing of Airflow."""
