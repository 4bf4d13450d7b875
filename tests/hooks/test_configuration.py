"""The section [meisa] of Airflow's configuration."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.get_provider_info import get_provider_info
from airflow_provider_meisa.hooks import configuration
from airflow_provider_meisa.hooks.meisa import MeisaHook
from tests.support.task import Task

OPTIONS = ["ledger_path", "ledger_key", "staging_path", "rate_limit_storage", "required_environment"]


@pytest.fixture
def configure(monkeypatch):
    """Set options of the section, as environment variables do."""
    monkeypatch.setattr(configuration, "_warned", set())

    def set_options(**options):
        for name, value in options.items():
            monkeypatch.setenv(f"AIRFLOW__MEISA__{name.upper()}", value)

    return set_options


def test_provider_describes_each_option_that_is_read():
    options = get_provider_info()["config"]["meisa"]["options"]
    assert list(options) == OPTIONS
    assert [name for name in options if not callable(getattr(configuration, name))] == []
    assert {name for name, option in options.items() if option.get("sensitive")} == {
        "ledger_key",
        "rate_limit_storage",
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_option_is_read_without_blanks(configure, name):
    configure(**{name: " live "})
    assert getattr(configuration, name)() == "live"


def test_ledgers_are_in_airflow_home_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    assert configuration.ledger_path() == str(tmp_path / "meisa_ledger")


# The required environment.


def test_live_key_sends_nothing_where_test_is_required(configure, meisa_connection, meisa_sandbox):
    configure(required_environment="test")
    with pytest.raises(
        AirflowFailException, match=r"\[meisa\] required_environment requires .*'test'.*'live'"
    ):
        Task(["ada@example.com"]).run()
    with pytest.raises(AirflowFailException, match="required_environment"):
        MeisaHook().enroll("ada@example.com", "onboarding")
    assert meisa_sandbox.enrollments("onboarding") == []


def test_test_key_sends_where_test_is_required(configure, meisa_connection, meisa_sandbox):
    meisa_sandbox.add_key("meisa_test_key", environment="test")
    meisa_connection(password="meisa_test_key")
    configure(required_environment="test")
    assert MeisaHook().enroll("ada@example.com", "onboarding").status == "enrolled"


def test_connection_of_another_environment_is_refused(configure, meisa_connection, meisa_sandbox):
    meisa_connection(extra={"environment": "live"})
    configure(required_environment="test")
    with pytest.raises(AirflowFailException, match=r"meisa_default.*'live'.*required_environment is 'test'"):
        MeisaHook().enroll("ada@example.com", "onboarding")
    assert MeisaHook().test_connection()[0] is False
    assert meisa_sandbox.requests() == []


def test_unknown_environment_is_refused(configure):
    configure(required_environment="staging")
    with pytest.raises(MeisaInputError, match="must be 'live', 'test' or empty"):
        configuration.required_environment()


# Paths.


def test_storage_of_the_configuration_is_the_default(configure, meisa_connection, tmp_path):
    meisa_connection(extra={"rate_limit_storage": ""})
    configure(rate_limit_storage="memory")
    assert MeisaHook().get_conn().settings.rate_limit_storage == "memory"


def test_storage_of_the_connection_counts_more(configure, meisa_connection):
    configure(rate_limit_storage="redis://:secret@localhost:1/0")
    assert MeisaHook().get_conn().settings.rate_limit_storage == "memory"


def test_plans_are_in_the_folder_of_the_configuration(configure, meisa_connection, meisa_sandbox, tmp_path):
    configure(staging_path=str(tmp_path / "plans"))
    report = Task(["ada@example.com"], preview=True).run()
    assert report["plan"].startswith(str(tmp_path / "plans"))


@pytest.mark.parametrize(
    ("executor", "warned"),
    [
        ("LocalExecutor", False),
        ("CeleryExecutor", True),
        (
            "LocalExecutor,airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor",
            True,
        ),
        ("team:CeleryExecutor", True),
    ],
)
def test_private_folders_of_remote_workers_are_warned_of_once(
    configure, meisa_connection, meisa_sandbox, monkeypatch, caplog, tmp_path, executor, warned
):
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    meisa_connection(extra={"rate_limit_storage": ""})
    configure()
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    ours = Task(["ada@example.com"], ledger="once", again_after="never")
    ours.run()
    ours.next_night().run()
    for name in ("staging_path", "ledger_path", "rate_limit_storage"):
        assert caplog.text.count(f"Set [meisa] {name} to a place") == warned


def test_shared_places_are_not_warned_of(configure, meisa_connection, monkeypatch, caplog, tmp_path):
    configure(staging_path=str(tmp_path / "plans"), ledger_path=str(tmp_path / "ledgers"))
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    Task(["ada@example.com"], ledger="once", again_after="never").run()
    assert "to a place that all workers reach" not in caplog.text
