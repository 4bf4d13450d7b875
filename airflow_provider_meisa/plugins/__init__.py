"""The page and the tab *Meisa* in the Airflow UI."""
