"""What tests share: factories, fakes, servers on loopback, and Airflow in one process or several."""
