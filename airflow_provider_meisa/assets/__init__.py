"""Sequences and contacts as Airflow's assets: what a task fills, and what a DAG can be scheduled on."""

from airflow_provider_meisa.assets.sequences import meisa_contacts, meisa_sequence

__all__ = ["meisa_contacts", "meisa_sequence"]
