"""Airflow provider for Meisa: enroll contacts into lifecycle e-mail sequences."""

__version__ = "0.1.0"
