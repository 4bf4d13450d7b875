"""A retry after the provider was changed: what another version has written stops it before it sends."""

import json

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from tests.support.people import people
from tests.support.requests_sent import addresses_sent, bulk_requests
from tests.support.summary import counts

PEOPLE = people(1100)


@pytest.fixture
def interrupted(task, meisa_sandbox, tmp_path):
    """Return a task whose first attempt has sent one batch, and the folder of its files."""
    ours = task(
        PEOPLE, max_in_flight=1, staging_path=str(tmp_path), outcomes_path=str(tmp_path / "outcomes.jsonl")
    )
    meisa_sandbox.fault("status", status=500, path="bulk-enroll", skip=1)
    with pytest.raises(AirflowException, match="500"):
        ours.run()
    meisa_sandbox.clear_faults()
    return ours, tmp_path


def test_parts_of_another_version_stop_a_retry(interrupted, meisa_sandbox):
    ours, folder = interrupted
    parts = folder / "outcomes.jsonl.parts"
    for part in list(parts.iterdir()):
        part.rename(parts / part.name.replace("part-v2-", "part-v9-"))
    sent = len(bulk_requests(meisa_sandbox))
    with pytest.raises(AirflowFailException, match=r"parts in .* another version of this provider"):
        ours.run()
    assert len(bulk_requests(meisa_sandbox)) == sent
    for part in parts.iterdir():
        part.unlink()
    assert counts(ours.run()) == {"enrolled": 1100}
    assert addresses_sent(meisa_sandbox)[-600:] == PEOPLE[500:]


def test_plan_of_another_version_stops_a_retry(interrupted, meisa_sandbox):
    ours, folder = interrupted
    (note,) = folder.glob("*.json")
    note.write_text(json.dumps({**json.loads(note.read_text()), "version": 99, "added": True}))
    sent = len(bulk_requests(meisa_sandbox))
    with pytest.raises(AirflowFailException, match=r"The plan .* another version of this provider"):
        ours.run()
    assert len(bulk_requests(meisa_sandbox)) == sent
