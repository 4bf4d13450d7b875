"""Parameters of the sensor and its trigger: a wrong value fails at once, before Meisa is asked."""

import asyncio
import datetime as dt

import pytest

from airflow_provider_meisa.sensors.sequences import MeisaSequenceSensor
from airflow_provider_meisa.triggers.sequences import MeisaSequenceTrigger


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("deferrable", value) for value in ("False", "no", 1, None)),
        *(("on_missing", value) for value in ("Wait", None, True)),
        *(("status", value) for value in (7, None, ["active"], b"active")),
        *(("sequence_slug", value) for value in ({"onboarding"}, b"onboarding", {"a": 1}, "['a', 'b']", [["a"]])),
        *(("meisa_conn_id", value) for value in (7, "", None)),
    ],
    ids=str,
)  # fmt: skip
def test_the_sensor_refuses_a_wrong_parameter(run_task, meisa_sandbox, everything_written, name, value):
    given = {"sequence_slug": "onboarding", "poke_interval": 0.1, "timeout": 5, name: value}
    assert run_task(MeisaSequenceSensor, **given).state == "failed"
    assert meisa_sandbox.requests() == []
    assert f"{name} " in everything_written()


@pytest.mark.parametrize("native", [True, False])
def test_slugs_of_a_template_are_a_list_or_refused(run_task, meisa_sandbox, native):
    ran = run_task(
        MeisaSequenceSensor,
        sequence_slug="{{ params.slugs }}",
        on_missing="wait",
        params={"slugs": ["onboarding", "reactivation"]},
        render_template_as_native_obj=native,
    )
    assert ran.state == ("success" if native else "failed")
    assert bool(meisa_sandbox.requests()) is native


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("meisa_conn_id", 7),
        ("slugs", "onboarding"),
        ("slugs", []),
        ("slugs", [7]),
        ("status", ""),
        ("on_missing", "hope"),
        ("poll_interval", "60"),
        ("poll_interval", float("nan")),
        ("silent_fail", "False"),
    ],
)
def test_the_trigger_ends_with_a_sentence(meisa_connection, meisa_sandbox, name, value):
    given = {
        "meisa_conn_id": "meisa_default",
        "slugs": ["onboarding"],
        "status": "active",
        "on_missing": "fail",
        "poll_interval": dt.timedelta(seconds=1),
        "silent_fail": False,
    }

    async def first():
        return await anext(MeisaSequenceTrigger(**{**given, name: value}).run())

    event = asyncio.run(first())
    assert (event.payload["status"], event.payload["final"]) == ("error", True)
    assert name in event.payload["message"] or "sequence_slug" in event.payload["message"]
    assert meisa_sandbox.requests() == []
