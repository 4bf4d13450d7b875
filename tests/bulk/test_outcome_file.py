import csv
import gzip
import io
import json
import pathlib
import shutil
import stat
import tempfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.api.outcomes import Outcome, OutcomeStatus
from airflow_provider_meisa.bulk.batching import Batch
from airflow_provider_meisa.bulk.outcome_file import OutcomeFile, text_of_cell

SUFFIXES = [".jsonl", ".jsonl.gz", ".csv", ".csv.gz"]
ACCEPTED = {
    OutcomeStatus.ENROLLED,
    OutcomeStatus.ALREADY_ENROLLED,
    OutcomeStatus.ENROLLED_BEFORE,
    OutcomeStatus.UNCHANGED,
    OutcomeStatus.CREATED,
    OutcomeStatus.UPDATED,
    OutcomeStatus.DUPLICATE,
}

any_text = st.text(st.characters(codec=None), max_size=40)
outcomes = st.builds(Outcome, any_text, st.sampled_from(OutcomeStatus), any_text)


def numbered(number):
    """Make a batch with this number."""
    return Batch(number, ())


def people(batch, count=3, status=OutcomeStatus.ENROLLED):
    return [Outcome(f"person{batch}-{number}@example.com", status) for number in range(count)]


def content(path):
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.name.endswith(".gz") else raw).decode("utf-8")


def read(path):
    """Read an outcomes file as other programs do."""
    text = content(path)
    if ".csv" in path.name:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.splitlines()]


def addresses(path):
    return [row["address"] for row in read(path)]


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path):
    return tmp_path / "day" / f"outcomes{request.param}"


@pytest.fixture
def file(path):
    made = OutcomeFile(path)
    made.begin(first_batch=0)
    return made


def test_each_address_has_a_line_with_its_status_reason_and_batch(file, path):
    file.write(numbered(0), [Outcome("ada@example.com", OutcomeStatus.ENROLLED)])
    file.write(numbered(1), [Outcome("grace@example.com", OutcomeStatus.FAILED, 'refused, "as it were"')])
    assert file.finish() == 2
    assert [{**row, "batch": int(row["batch"]), "row": row["row"] or None} for row in read(path)] == [
        {"address": "ada@example.com", "status": "enrolled", "reason": "", "batch": 1, "row": None},
        {
            "address": "grace@example.com",
            "status": "failed",
            "reason": 'refused, "as it were"',
            "batch": 2,
            "row": None,
        },
    ]


def test_lines_stand_in_the_order_of_the_batches_whichever_was_answered_first(file, path):
    for batch in (2, 10, 1_000_000, 0):
        file.write(numbered(batch), people(batch, 1))
    file.finish()
    assert [int(row["batch"]) for row in read(path)] == [1, 3, 11, 1_000_001]


def test_a_batch_that_is_retried_overwrites_what_was_written_of_it(file, path):
    file.write(numbered(0), people(0, status=OutcomeStatus.UNREPORTED))
    file.write(numbered(1), people(1))
    file.write(numbered(0), people(0))
    assert file.finish() == 6
    assert {row["status"] for row in read(path)} == {"enrolled"}


def test_once_the_run_is_noted_as_complete_no_part_is_left_beside_the_file(file, path):
    file.write(numbered(0), people(0))
    file.finish()
    file.discard_parts()
    file.discard_parts()
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert addresses(path) == [o.address for o in people(0)]


def test_a_run_without_addresses_leaves_an_empty_account(file, path):
    assert file.finish() == 0
    assert read(path) == []


def test_a_resumed_run_goes_on_adding_parts(file, path):
    file.write(numbered(0), people(0))
    file.write(numbered(1), people(1, status=OutcomeStatus.UNREPORTED))
    resumed = OutcomeFile(path)
    resumed.begin(first_batch=100)
    resumed.write(numbered(1), people(1))
    resumed.write(numbered(2), people(2))
    assert resumed.finish() == 9
    assert addresses(path) == [o.address for batch in range(3) for o in people(batch)]


def test_a_fresh_run_knows_nothing_of_an_earlier_one(file, path):
    file.write(numbered(0), people(0))
    file.write(numbered(7), people(7))
    fresh = OutcomeFile(path)
    fresh.begin(first_batch=0)
    fresh.write(numbered(0), people(0, 1))
    assert fresh.finish() == 1


def test_a_run_that_stopped_has_its_account_and_goes_on_from_its_parts(file, path):
    file.write(numbered(0), people(0))
    file.write(numbered(1), people(1, status=OutcomeStatus.UNTRIED))
    assert file.finish() == 6
    assert [row["status"] for row in read(path)] == ["enrolled"] * 3 + ["untried"] * 3
    resumed = OutcomeFile(path)
    resumed.begin(first_batch=100)
    resumed.write(numbered(1), people(1))
    assert resumed.finish() == 6
    assert {row["status"] for row in read(path)} == {"enrolled"}


def test_parts_of_batches_that_are_cut_again_are_removed(file, path):
    for batch in range(4):
        file.write(numbered(batch), people(batch))
    resumed = OutcomeFile(path)
    resumed.begin(first_batch=2)
    resumed.write(numbered(2), people(7))
    assert resumed.finish() == 9
    assert {int(row["batch"]) for row in read(path)} == {1, 2, 3}


def test_after_a_crash_before_the_run_is_noted_as_complete_each_address_stands_once(file, path):
    for batch in range(4):
        file.write(numbered(batch), people(batch))
    file.finish()
    again = OutcomeFile(path)
    again.begin(first_batch=100)
    again.write(numbered(3), people(3))
    assert again.finish() == 12
    assert addresses(path) == [o.address for batch in range(4) for o in people(batch)]


def test_parts_that_a_crash_kept_from_being_discarded_do_not_count_in_a_fresh_run(file, path, monkeypatch):
    for batch in range(4):
        file.write(numbered(batch), people(batch))
    file.finish()
    unlink = pathlib.Path.unlink

    def crash(self):
        if self.name.startswith("part-v2-000002"):
            raise KeyboardInterrupt
        unlink(self)

    monkeypatch.setattr(pathlib.Path, "unlink", crash)
    with pytest.raises(KeyboardInterrupt):
        file.discard_parts()
    monkeypatch.undo()
    fresh = OutcomeFile(path)
    fresh.begin(first_batch=0)
    fresh.write(numbered(0), people(0))
    assert fresh.finish() == 3


def test_after_a_crash_between_the_parts_and_the_joined_file_each_address_stands_once(
    file, path, monkeypatch
):
    for batch in range(4):
        file.write(numbered(batch), people(batch))

    def crash(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(pathlib.Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        file.finish()
    monkeypatch.undo()
    assert not path.exists()
    resumed = OutcomeFile(path)
    resumed.begin(first_batch=100)
    resumed.write(numbered(3), people(3))
    resumed.write(numbered(4), people(4))
    assert resumed.finish() == 15
    assert len(set(addresses(path))) == len(addresses(path)) == 15


def test_rejects_are_all_but_the_enrolled_and_the_duplicates(path):
    file = OutcomeFile(path, rejects_only=True)
    file.begin(first_batch=0)
    file.write(numbered(0), [Outcome(f"{status}@example.com", status) for status in OutcomeStatus])
    assert file.finish() == len(OutcomeStatus) - len(ACCEPTED)
    assert {row["status"] for row in read(path)} == set(OutcomeStatus) - ACCEPTED


def test_a_repeat_without_rejects_takes_the_old_ones_away(path):
    file = OutcomeFile(path, rejects_only=True)
    file.begin(first_batch=0)
    file.write(numbered(0), people(0, status=OutcomeStatus.UNREPORTED))
    file.write(numbered(0), people(0))
    assert file.finish() == 0


def test_batches_are_written_by_several_threads_at_once(file, path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda batch: file.write(numbered(batch), people(batch, 50)), range(100)))
    assert file.finish() == 5_000
    assert addresses(path) == [o.address for batch in range(100) for o in people(batch, 50)]


@settings(max_examples=200, deadline=None)
@given(batches=st.dictionaries(st.integers(0, 20), st.lists(outcomes, max_size=5), max_size=4))
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whatever_an_address_holds_it_is_one_line_that_reads_back(suffix, batches):
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        path = folder / f"o{suffix}"
        file = OutcomeFile(path)
        file.begin(first_batch=0)
        for batch, found in batches.items():
            file.write(numbered(batch), found)
        lines = file.finish()
        rows = read(path)
        written = [(o, batch) for batch in sorted(batches) for o in batches[batch]]
        assert lines == len(rows) == len(written)
        assert content(path).count("\n") == lines + (".csv" in suffix)
        for row, (outcome, batch) in zip(rows, written, strict=True):
            assert row["status"] == outcome.status
            assert int(row["batch"]) == batch + 1
            if "jsonl" in suffix:
                assert row["address"] == outcome.address
                assert row["reason"] == outcome.reason
            else:
                assert text_of_cell(row["address"]) == in_one_line(outcome.address)
                assert text_of_cell(row["reason"]) == in_one_line(outcome.reason)
    finally:
        shutil.rmtree(folder)


def in_one_line(text):
    return text.replace("\r", " ").replace("\n", " ").encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize(
    "formula",
    [
        *("=1+1@example.com", "+tag@example.com", "-x@example.com", "@x", "\tx", "\r=x", " =x"),
        *("'=x", "''+x", "\u00a0=x", "\ufeff@x", "\x1f-x", "\uff1dx", "'\tx"),
    ],
)
def test_what_a_spreadsheet_would_run_has_an_apostrophe_in_front_in_csv_alone(tmp_path, formula):
    for suffix, expected in ((".csv", "'" + formula.replace("\r", " ")), (".jsonl", formula)):
        file = OutcomeFile(tmp_path / f"o{suffix}")
        file.begin(first_batch=0)
        file.write(numbered(0), [Outcome(formula, OutcomeStatus.INVALID)])
        file.finish()
        assert addresses(file.path) == [expected]


def test_the_csv_has_one_header_and_quotes_every_address(tmp_path):
    file = OutcomeFile(tmp_path / "o.csv")
    file.begin(first_batch=0)
    file.write(numbered(0), [Outcome("ada@example.com", OutcomeStatus.ENROLLED)])
    file.write(numbered(1), [Outcome("a;=x", OutcomeStatus.INVALID, "no @")])
    file.finish()
    assert content(file.path) == (
        'address,status,reason,batch,row\n"ada@example.com",enrolled,"",1,\n"a;=x",invalid,"no @",2,\n'
    )


def test_local_files_are_for_their_owner_alone(file, path):
    file.write(numbered(0), people(0))
    parts = path.parent / f"{path.name}.parts"
    assert stat.S_IMODE(parts.stat().st_mode) == 0o700
    assert [stat.S_IMODE(part.stat().st_mode) for part in parts.iterdir()] == [0o600]
    file.finish()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_parts_of_another_version_are_refused_until_removed(file, path):
    file.write(numbered(0), people(0))
    parts = path.parent / f"{path.name}.parts"
    (part,) = parts.iterdir()
    other = part.rename(parts / part.name.replace("part-v2-", "part-"))
    with pytest.raises(MeisaInputError, match="another version of this provider") as caught:
        OutcomeFile(path).begin(first_batch=1)
    assert str(parts) in str(caught.value)
    assert other.exists()
    OutcomeFile(path).begin(first_batch=0)
    assert list(parts.iterdir()) == []


def test_files_of_others_in_the_folder_of_parts_are_left_alone(file, path):
    other = path.parent / f"{path.name}.parts" / "notes.txt"
    other.write_text("mine")
    file.write(numbered(0), people(0))
    assert file.finish() == 3
    file.discard_parts()
    assert other.read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["outcomes", "outcomes.txt", "outcomes.gz", "outcomes.json", "jsonl", "x.parts"]
)
def test_a_path_that_says_no_format_is_refused(tmp_path, name):
    with pytest.raises(MeisaInputError, match="outcomes_path must end in"):
        OutcomeFile(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_named_and_may_be_tried_again(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(MeisaUnreachableError, match="taken"):
        OutcomeFile(tmp_path / "taken" / "o.jsonl").begin(first_batch=0)


def in_a_store(filesystem, name, *, store="plain"):
    """A place in an object store that has a name of its own."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        from airflow.sdk.io import attach
    except ImportError:
        from airflow.io.store import attach

    attach("memory", store, fs=filesystem)
    return ObjectStoragePath(f"memory://{store}@bucket{name.replace('.', '-')}/day/outcomes{name}")


@pytest.mark.airflow
def test_a_store_that_refuses_in_words_of_its_own_is_named_without_them():
    from fsspec.implementations.memory import MemoryFileSystem

    class ClientError(Exception):
        """As of botocore: no OSError."""

    class Refusing(MemoryFileSystem):
        cachable = False

        def _open(self, path, mode="rb", **_):
            raise ClientError("the secret of the bucket")

    file = OutcomeFile(in_a_store(Refusing(), ".jsonl", store="refusing"))
    file.begin(first_batch=0)
    with pytest.raises(MeisaUnreachableError, match=r"day/outcomes.jsonl cannot be written: ClientError\.$"):
        file.write(numbered(0), people(0))


@pytest.mark.airflow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_object_store_is_written_the_same_way(suffix):
    from fsspec.implementations.memory import MemoryFileSystem

    path = in_a_store(MemoryFileSystem(), suffix)
    file = OutcomeFile(path, rejects_only=True)
    file.begin(first_batch=0)
    file.write(numbered(0), people(0, status=OutcomeStatus.FAILED))
    file.write(numbered(1), people(1, status=OutcomeStatus.FAILED))
    file.write(numbered(0), people(0))
    resumed = OutcomeFile(path, rejects_only=True)
    resumed.begin(first_batch=100)
    resumed.write(numbered(2), people(2, status=OutcomeStatus.INVALID))
    assert resumed.finish() == 6
    resumed.discard_parts()
    assert addresses(path) == [o.address for batch in (1, 2) for o in people(batch)]
    assert list((path.parent / f"{path.name}.parts").iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_batches(tmp_path):
    file = OutcomeFile(tmp_path / "o.jsonl.gz")
    file.begin(first_batch=0)
    tracemalloc.start()
    try:
        for batch in range(200):
            file.write(numbered(batch), people(batch, 500))
        assert file.finish() == 100_000
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
