"""Operators: tasks that enroll and update contacts."""
