"""Sequences as assets: a task updates them, and a DAG can be scheduled on them."""

from airflow_provider_meisa.assets.sequences import meisa_sequence

__all__ = ["meisa_sequence"]
