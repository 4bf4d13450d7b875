"""Opening, compacting, forgetting and clearing a ledger in a folder."""

import stat
from dataclasses import fields, replace

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaLedgerError, MeisaUnreachableError
from airflow_provider_meisa.bulk.ledger import Entry, Ledger, LedgerSummary, State, Subject
from airflow_provider_meisa.bulk.ledger.entry import minute_at
from airflow_provider_meisa.bulk.ledger.part import decode
from tests.support.ledgers import DAY, MINUTE, NOON, SUBJECT

PEOPLE = [f"person{number}@private.example" for number in range(40)]


def accept(ledger, people, run="night 1", values_hash=0):
    with ledger.writer(run, repeat="ambiguous") as writer:
        for each in people:
            writer.add(each, State.ACCEPTED, values_hash)


def parts_of(root, name="reactivation"):
    return sorted((root / name).glob("*.part"))


def header_of(part):
    content = part.read_bytes()
    return decode(lambda offset, most: content[offset : offset + most]).header


def states(ledger, people=PEOPLE):
    return [entry and entry.state for entry in ledger.known_all(people)]


def test_ledger_that_is_not_there_is_empty(open_ledger, tmp_path):
    ledger = open_ledger()
    assert (ledger.count, ledger.parts, ledger.known(PEOPLE[0])) == (0, 0, None)
    assert list(ledger.entries()) == []
    assert list(tmp_path.iterdir()) == []


def test_next_run_knows_what_was_accepted(open_ledger, clock):
    accept(open_ledger(), PEOPLE[:3], values_hash=5)
    later = open_ledger()
    assert later.known(PEOPLE[0]) == Entry(minute_at(NOON), State.ACCEPTED, 5)
    assert later.known(PEOPLE[3]) is None
    assert states(later, PEOPLE[:4]) == [State.ACCEPTED] * 3 + [None]
    assert later.summary() == LedgerSummary("reactivation", 3)
    assert later.summary().as_json() == {"name": "reactivation", "entries": 3}


def test_entries_are_counted_once_across_parts_and_runs(open_ledger, clock):
    accept(open_ledger(), PEOPLE[:10])
    clock.now += DAY
    ledger = open_ledger()
    accept(ledger, PEOPLE[5:15], run="night 2")
    assert ledger.count == open_ledger().count == len(list(ledger.entries())) == 15


def test_ledger_holds_no_address_in_clear(open_ledger, tmp_path):
    accept(open_ledger(), PEOPLE)
    for file in tmp_path.rglob("*.part"):
        assert b"private.example" not in file.read_bytes()


def test_folder_and_parts_are_for_their_owner(open_ledger, tmp_path):
    accept(open_ledger(), PEOPLE)
    (part,) = parts_of(tmp_path)
    assert stat.S_IMODE(part.stat().st_mode) == 0o600
    assert stat.S_IMODE(part.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up", "a/b", "/etc", ".hidden", "a b", "a\n", "x" * 201, "ä"]
)
def test_name_that_is_a_path_is_refused(open_ledger, name):
    with pytest.raises(MeisaInputError, match="ledger must be a name"):
        open_ledger(name=name)


@pytest.mark.parametrize("name", [each.name for each in fields(Subject)])
def test_ledger_of_another_subject_is_refused_by_name(open_ledger, name):
    accept(open_ledger(), PEOPLE)
    words = {
        "base_url": "base URL",
        "environment": "environment of the API key",
        "product": "product",
        "job": "job",
        "target": "sequence or sync_name",
        "record_id": "record id",
    }
    with pytest.raises(MeisaLedgerError) as refused:
        open_ledger(subject=replace(SUBJECT, **{name: "rehearsal"}))
    assert words[name] in str(refused.value)
    assert "'rehearsal'" in str(refused.value)
    assert repr(getattr(SUBJECT, name)) in str(refused.value)
    assert all(other not in str(refused.value) for key, other in words.items() if key != name)


def test_another_ledger_key_is_refused_without_showing_it(open_ledger):
    accept(open_ledger(secret="right"), PEOPLE)
    for secret in ("wrong", ""):
        with pytest.raises(MeisaLedgerError, match=r"\[meisa\] ledger_key is another one") as refused:
            open_ledger(secret=secret)
        assert "right" not in str(refused.value)
    assert open_ledger(secret="right").count == len(PEOPLE)


def test_part_of_another_ledger_in_the_folder_is_refused(open_ledger, tmp_path):
    accept(open_ledger(), PEOPLE)
    accept(open_ledger(name="other", subject=replace(SUBJECT, target="other")), PEOPLE[:1])
    (stray,) = parts_of(tmp_path, "other")
    (tmp_path / "reactivation" / stray.name).write_bytes(stray.read_bytes())
    with pytest.raises(MeisaLedgerError, match="sequence or sync_name"):
        open_ledger()


def test_later_format_is_refused_with_what_to_do(open_ledger, tmp_path, monkeypatch):
    monkeypatch.setattr("airflow_provider_meisa.bulk.ledger.ledger.VERSION", 2)
    monkeypatch.setattr("airflow_provider_meisa.bulk.ledger.contents.VERSION", 2)
    accept(open_ledger(), PEOPLE)
    monkeypatch.undo()
    with pytest.raises(MeisaLedgerError, match=r"format 2.*Install the version"):
        open_ledger()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[:-1], "cut short"),
        (lambda content: content[:20], "cut short"),
        (lambda content: b"", "cut short"),
        (lambda content: content + b"\0", "too long"),
        (lambda content: b"<html>" + content, "not a part"),
        (lambda content: content[:-8] + bytes(8), "checksum"),
    ],
)
def test_damaged_part_stops_before_anything_is_sent(open_ledger, tmp_path, damage, reason):
    ledger = open_ledger()
    accept(ledger, PEOPLE)
    (part,) = parts_of(tmp_path)
    part.write_bytes(damage(part.read_bytes()))
    with pytest.raises(MeisaLedgerError, match=f"{part.name}.*{reason}"):
        open_ledger()


def test_damaged_part_is_never_compacted_away(open_ledger, tmp_path, clock):
    for night in range(3):
        accept(open_ledger(), PEOPLE[night : night + 1], run=f"night {night}")
        clock.now += DAY
    ledger = open_ledger()
    accept(open_ledger(), PEOPLE[3:4], run="night 3")
    newest = parts_of(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.raises(MeisaLedgerError, match="cut short"):
        ledger.compact()
    assert len(parts_of(tmp_path)) == 4


def test_folder_that_cannot_be_read_is_not_an_empty_ledger(open_ledger, tmp_path):
    (tmp_path / "reactivation").write_text("a file")
    with pytest.raises(MeisaUnreachableError, match="Not a directory"):
        open_ledger()


def test_compaction_keeps_every_entry_and_its_header(open_ledger, tmp_path, clock):
    for night in range(5):
        with open_ledger().writer(f"night {night}", repeat="ambiguous") as writer:
            for each in PEOPLE[night * 3 : night * 3 + 5]:
                writer.add(each, State.ACCEPTED, night)
            writer.set_property("mapping", {"night": night})
        clock.now += DAY
    before = open_ledger()
    entries, runs = list(before.entries()), dict(before.runs)
    assert before.compact(at_least=6) is False
    assert before.compact() is True
    assert (before.parts, len(parts_of(tmp_path))) == (1, 1)
    for ledger in (before, open_ledger()):
        assert list(ledger.entries()) == entries
        assert dict(ledger.runs) == runs
        assert ledger.properties == {"mapping": {"night": 4}}
    assert before.compact() is False


def test_compaction_that_cannot_write_removes_nothing(open_ledger, tmp_path, monkeypatch):
    for night in range(3):
        accept(open_ledger(), PEOPLE[night : night + 1], run=f"night {night}")
    ledger, before = open_ledger(), parts_of(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MeisaUnreachableError, match="No space left"):
        ledger.compact()
    monkeypatch.undo()
    assert parts_of(tmp_path) == before
    assert ledger.compact()
    assert open_ledger().count == 3


def test_run_compacts_at_its_start_once_there_are_many_parts(open_ledger, tmp_path, clock):
    seen = []
    for night in range(40):
        accept(open_ledger(), PEOPLE[night : night + 1], run=f"night {night}")
        seen.append(len(parts_of(tmp_path)))
        clock.now += DAY
    assert max(seen) < 20
    assert open_ledger().count == 40


def test_compacted_header_remembers_a_hundred_runs(open_ledger, tmp_path, clock):
    for night in range(130):
        accept(open_ledger(), [], run=f"night {night}")
        clock.now += DAY
    ledger = open_ledger()
    ledger.compact()
    (part,) = parts_of(tmp_path)
    assert set(header_of(part)["writers"]) == {f"night {night}" for night in range(30, 130)}


def test_what_a_killed_process_left_is_removed_after_a_day(open_ledger, tmp_path):
    import os
    import time

    accept(open_ledger(), PEOPLE[:1])
    folder = tmp_path / "reactivation"
    fresh, old = folder / ".1-ab.part.tmp", folder / ".2-ab.part.tmp"
    for file in (fresh, old):
        file.write_bytes(b"MEISA")
    os.utime(old, (time.time() - 2 * DAY,) * 2)
    accept(open_ledger(), PEOPLE[1:2], run="night 2")
    assert (fresh.exists(), old.exists()) == (True, False)
    assert open_ledger().count == 2


def test_forgotten_record_stays_forgotten(open_ledger, clock):
    accept(open_ledger(), PEOPLE[:2])
    ledger = open_ledger()
    assert ledger.forget([PEOPLE[0], PEOPLE[9]], by="airflow meisa ledger forget") == 2
    assert states(ledger, PEOPLE[:2]) == [State.FORGOTTEN, State.ACCEPTED]
    clock.now += DAY
    again = open_ledger()
    accept(again, PEOPLE[:2], run="night 2")
    again.clear_run("night 1", by="airflow meisa ledger clear")
    again.clear_run("night 2", by="airflow meisa ledger clear")
    again.compact()
    assert states(open_ledger(), [PEOPLE[0], PEOPLE[1], PEOPLE[9]]) == [
        State.FORGOTTEN,
        State.CLEARED,
        State.FORGOTTEN,
    ]


def test_recording_is_whole_or_not_at_all(open_ledger, tmp_path):
    def source():
        yield PEOPLE[0], 0
        raise RuntimeError("the database is gone")

    ledger = open_ledger()
    with pytest.raises(RuntimeError):
        ledger.write(source(), State.RECORDED, by="night 1")
    assert open_ledger().count == ledger.count == 0
    assert ledger.write(((each, 7) for each in PEOPLE), State.RECORDED, by="night 1") == len(PEOPLE)
    assert states(open_ledger()) == [State.RECORDED] * len(PEOPLE)
    assert len(parts_of(tmp_path)) == 1


def test_clearing_a_run_clears_what_it_wrote_and_nothing_else(open_ledger, clock):
    """Two runs within one minute, and a third that touched a record of the first again."""
    accept(open_ledger(), PEOPLE[:4], run="first")
    accept(open_ledger(), PEOPLE[4:8], run="second")
    accept(open_ledger(), PEOPLE[3:4], run="third")
    ledger = open_ledger()
    ledger.compact()
    assert ledger.clear_run("first", by="airflow meisa ledger clear") == 3
    assert states(open_ledger(), PEOPLE[:8]) == [State.CLEARED] * 3 + [State.ACCEPTED] * 5
    clock.now += MINUTE
    accept(open_ledger(), PEOPLE[:2], run="fourth")
    assert open_ledger().clear_run("first", by="airflow meisa ledger clear") == 0
    assert states(open_ledger(), PEOPLE[:8]) == [State.ACCEPTED] * 2 + [State.CLEARED] + [State.ACCEPTED] * 5


def test_clearing_a_run_over_its_retries_and_those_of_others(open_ledger, clock):
    for number, run in enumerate(["a", "b", "a", "c", "a"]):
        accept(open_ledger(), PEOPLE[number : number + 1], run=run)
        clock.now += DAY
    assert open_ledger().clear_run("a", by="clear") == 3
    assert states(open_ledger(), PEOPLE[:5]) == [
        State.CLEARED,
        State.ACCEPTED,
        State.CLEARED,
        State.ACCEPTED,
        State.CLEARED,
    ]


def test_clearing_an_unknown_run_names_the_newest(open_ledger):
    with pytest.raises(MeisaInputError, match="newest is none"):
        open_ledger().clear_run("night 1", by="clear")
    accept(open_ledger(), PEOPLE[:1], run="night 1")
    with pytest.raises(MeisaInputError, match="newest is night 1"):
        open_ledger().clear_run("night 7", by="clear")


def test_open_existing_takes_the_subject_it_finds(open_ledger, tmp_path, clock):
    accept(open_ledger(secret="right"), PEOPLE[:2])
    found = Ledger.open_existing(tmp_path, "reactivation", secret="right", clock=clock)
    assert states(found, PEOPLE[:3]) == [State.ACCEPTED, State.ACCEPTED, None]
    assert found.subject["environment"] == "live"
    found.forget(PEOPLE[:1], by="cli")
    assert states(open_ledger(secret="right"), PEOPLE[:1]) == [State.FORGOTTEN]
    with pytest.raises(MeisaLedgerError, match=r"another .*ledger_key"):
        Ledger.open_existing(tmp_path, "reactivation")
    with pytest.raises(MeisaLedgerError, match="no ledger at"):
        Ledger.open_existing(tmp_path, "reactivatoin")


def test_entry_in_a_later_part_wins_over_its_order(open_ledger, tmp_path, clock):
    """Parts renamed so that they are read the other way round."""
    accept(open_ledger(), PEOPLE[:1], values_hash=1)
    clock.now -= DAY
    accept(open_ledger(), PEOPLE[:1], run="night 2", values_hash=2)
    for number, part in enumerate(reversed(parts_of(tmp_path))):
        part.rename(part.with_name(f"{number}-00.part"))
    assert open_ledger().known(PEOPLE[0]).values_hash == 2
