"""What can be done with many records in one task; `airflow_provider_meisa.bulk.job` says what a job is."""
