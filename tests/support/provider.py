"""The provider's description for Airflow, for tests that go through all of it."""

from __future__ import annotations

from airflow_provider_meisa.get_provider_info import get_provider_info


def modules_of_provider(*kinds: str) -> list[str]:
    """Return the modules with the classes of a DAG's author: of these kinds, or of all, transfers among them."""
    info = get_provider_info()
    wanted = kinds or ("hooks", "operators", "sensors", "triggers")
    found = [module for kind in wanted for entry in info[kind] for module in entry["python-modules"]]
    return found if kinds else [*found, *(transfer["python-module"] for transfer in info["transfers"])]
