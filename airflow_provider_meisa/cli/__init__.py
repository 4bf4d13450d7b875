"""``airflow meisa …``: commands for Meisa in a terminal."""
