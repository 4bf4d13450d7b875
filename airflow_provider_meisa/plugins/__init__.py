"""What people see of Meisa in the Airflow UI."""
