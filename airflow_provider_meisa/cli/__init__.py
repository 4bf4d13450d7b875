"""``airflow meisa …``: what a person asks of Meisa in a terminal."""
