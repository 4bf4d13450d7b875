"""A sandbox, and clients of it."""

import pytest

from airflow_provider_meisa.api.client import MeisaClient
from airflow_provider_meisa.api.settings import Settings


@pytest.fixture
def sandbox(meisa_sandbox):
    return meisa_sandbox


@pytest.fixture
def client_of(sandbox, no_backoff):
    """Make clients of the sandbox, each with counters of its own."""
    return lambda: MeisaClient(Settings(api_key=sandbox.key, base_url=sandbox.api_url, timeout=5))
