"""The file of a plan: who may read it, what counts, and what goes."""

import json
import os
import time

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.batching import Batch
from airflow_provider_meisa.bulk.plan import PlanStore
from tests.support.jobs import ENROLL, enroll_batches
from tests.support.people import people

PEOPLE = people(1200)
ODD = ["ü@example.com", "half \ud800", "line\nbreak", None, *PEOPLE[:3]]


@pytest.fixture
def folder(plans_folder):
    return plans_folder / f"airflow-provider-meisa-staged-{os.geteuid()}"


@pytest.fixture
def store():
    return PlanStore(None, PlanStore.name_of(["ada@example.com", "run", "task", -1]))


def write(store, addresses=PEOPLE, **arguments):
    return store.write(ENROLL, enroll_batches(addresses), **arguments)


@pytest.mark.parametrize(
    "given", [PEOPLE, ODD, [], [*PEOPLE, *PEOPLE]], ids=["plain", "odd", "none", "twice"]
)
def test_batches_come_back_as_they_went(store, given):
    plan = write(store, given)
    assert list(store.batches(plan)) == list(enroll_batches(given))
    assert plan.total == len(given)
    assert store.load(plan.id) == plan


def test_header_has_counts_and_reasons(store):
    plan = write(store, ["broken", *PEOPLE, PEOPLE[0]])
    assert (plan.total, plan.to_send, plan.requests, plan.batches) == (1202, 1200, 3, 3)
    assert plan.counts == {"invalid": 1, "duplicate": 1}
    assert plan.reasons["invalid: no @"] == 1
    assert json.loads(store.note.read_text())["version"] == 5


@pytest.mark.parametrize(
    ("first", "last", "found"), [(1, None, [1, 2]), (0, 1, [0]), (1, 2, [1]), (3, None, [])]
)
def test_part_of_a_plan_is_read(store, first, last, found):
    plan = write(store)
    assert [batch.number for batch in store.batches(plan, first, last)] == found


def test_files_are_private_and_their_names_tell_nothing(store, folder):
    write(store)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert not any("example" in file.name or "task" in file.name for file in folder.iterdir())
    store.drop()
    store.drop()
    assert list(folder.iterdir()) == []


def test_plan_that_was_cut_short_counts_for_nothing(store, folder):
    def broken():
        yield Batch(0, tuple(PEOPLE[:3]), (Outcome("x", OutcomeStatus.INVALID, "no @"),))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.write(ENROLL, broken())
    assert list(folder.iterdir()) == []


def test_too_many_leave_no_file(store, folder):
    with pytest.raises(MeisaInputError, match="max_contacts=1,199 "):
        write(store, most=1199)
    assert list(folder.iterdir()) == []
    assert write(store, most=1200).total == 1200


@pytest.mark.parametrize(
    "tampered",
    ['{"file":', "[]", "[" * 100_000, "{}", '{"id": "q"}', '{"version": 1, "id": 1, "file": 2, "total": 3}'],
    ids=lambda text: text[:20],
)
def test_note_that_is_not_ours_counts_for_nothing(store, folder, tampered):
    plan = write(store)
    store.note.write_text(tampered)
    assert store.load(plan.id) is None
    write(store)
    store.drop()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["../precious", "precious", "/etc/hostname"])
def test_note_that_names_a_file_elsewhere_counts_for_nothing(store, folder, name):
    plan = write(store)
    precious = folder.parent / "precious"
    precious.write_text("[]")
    store.note.write_text(json.dumps({**json.loads(store.note.read_text()), "file": name}))
    assert store.load(plan.id) is None
    store.drop()
    assert precious.exists()


@pytest.mark.parametrize("version", [0, 1, 99])
def test_plan_of_another_version_is_refused(store, version):
    plan = write(store)
    store.note.write_text(json.dumps({**json.loads(store.note.read_text()), "version": version}))
    with pytest.raises(MeisaInputError, match=r"another version of this provider.*Remove it"):
        store.load(plan.id)


@pytest.mark.parametrize(
    "line", ["", "{}", "[1, 2]", '[["a"], [["b", "nonsense", ""]]]', "[[1], []]", "[" * 9999]
)
def test_damaged_plan_is_named(store, folder, line):
    plan = write(store)
    with (folder / plan.file).open("w") as file:
        file.write(line and f"{line}\n")
    with pytest.raises(MeisaInputError, match=r"The plan .*\.json is damaged\. Remove it"):
        list(store.batches(plan))


def test_old_plans_go_when_a_new_one_is_made(folder):
    old, recent, new = (PlanStore(None, PlanStore.name_of([name])) for name in ("old", "recent", "new"))
    gone = write(old)
    for file in list(folder.iterdir()):
        os.utime(file, (time.time() - 8 * 24 * 3600,) * 2)
    kept = write(recent)
    write(new)
    assert old.load(gone.id) is None
    assert recent.load(kept.id) == kept
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("is_link", [True, False], ids=["a link", "open to others"])
def test_default_folder_that_is_not_private_is_refused(store, folder, is_link):
    if is_link:
        (folder.parent / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(folder.parent / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(0o755)
    with pytest.raises(MeisaInputError, match="alone"):
        write(store)


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(MeisaUnreachableError, match="set staging_path"):
        write(PlanStore(tmp_path / "taken" / "folder", "name"))
