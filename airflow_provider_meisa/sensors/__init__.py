"""Sensors: tasks that wait for Meisa."""
