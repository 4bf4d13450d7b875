"""The ledger next to a ``set`` of hashes: size, reading, memory, look-ups: ``python benchmarks/ledger.py [--full]``."""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from contenders import people, status_mib
from figures import Spread, Table, over, status

_MILLION = 1_000_000
_NIGHTS = 29
_NEW = 200  # one of this many records is new each night, and one is written again
_TIMES = 5
_TIMES_OF_MANY = 3
_LINE = 1.25
_SIZES = (20_000, 160_000, 1_280_000)
_LARGEST = 8 * _SIZES[-1]
_BATCH = 500

_MOST_MIB = {1: 16.0, 30: 20.0}
_MOST_READING = {1: 1.0, 30: 5.0}
_MOST_MEMORY = {1: 32.0, 30: 60.0}
_MOST_LOOKING_UP = 1.5


def _subject() -> Any:
    from airflow_provider_meisa.bulk.ledger import Subject

    return Subject(
        base_url="https://api.meisa.io/api/v1",
        environment="live",
        product="",
        job="enroll",
        target="reactivation",
        record_id="address",
    )


def _open(root: str) -> Any:
    from airflow_provider_meisa.bulk.ledger import Ledger

    return Ledger.open(Path(root), "ledger", _subject())


@contextmanager
def _ledger(count: int, parts: int) -> Iterator[str]:
    """Create a ledger of one part, or of a compacted one and 29 nights; yield its folder, and remove it."""
    with tempfile.TemporaryDirectory() as root:
        _child("make", root, count, parts)
        yield root


def make(root: str, count: int, parts: int) -> dict[str, Any]:
    """Write the parts of a ledger with this many records."""
    from airflow_provider_meisa.bulk.ledger.entry import State, later
    from airflow_provider_meisa.bulk.ledger.header import Header
    from airflow_provider_meisa.bulk.ledger.part import VERSION, Part, encode
    from airflow_provider_meisa.bulk.ledger.store import DiskStore
    from airflow_provider_meisa.bulk.ledger.subject import Hasher, describe

    hasher, store = Hasher(_subject()), DiskStore(Path(root) / "ledger")
    hashes = array("Q", hasher.hash_records(people(count)))
    header = Header(describe(_subject(), hasher, VERSION)).as_json()
    nightly = count // _NEW if parts > 1 else 0
    first = count - _NIGHTS * nightly
    chance = random.Random(1)
    for night in range(parts):
        begin = first + (night - 1) * nightly
        new = hashes[begin : begin + nightly] if night else hashes[:first]
        again = chance.sample(range(begin), nightly) if night else ()
        column = array("Q", sorted({*new, *(hashes[place] for place in again)}))
        entries = array("Q", (later(0, 3_000_000 + night, State.ACCEPTED, each >> 28) for each in column))
        store.put(encode(Part(header, column, entries)))
    return {"mib": sum(file.stat().st_size for file in store.folder.iterdir()) / 2**20}


def remember(root: str, _count: int, _parts: int) -> dict[str, Any]:
    """Measure the peak memory of an open ledger, without its modules."""
    import airflow_provider_meisa.bulk.ledger  # noqa: F401 (not part of what is measured)

    before = status_mib("VmHWM")
    ledger = _open(root)
    return {"peak": status_mib("VmHWM") - before, "entries": ledger.count}


def remember_set(root: str, _count: int, _parts: int) -> dict[str, Any]:
    """Measure the memory of a set of the same hashes."""
    keys = array("Q", (record_hash for record_hash, _ in _open(root).entries()))
    gc.collect()
    before = status_mib("VmRSS")
    kept = set(keys)
    return {"peak": status_mib("VmRSS") - before, "entries": len(kept)}


def read(root: str, count: int, _parts: int) -> dict[str, Any]:
    """Time opening a ledger and creating a set of its hashes, in turn."""
    keys = array("Q", (record_hash for record_hash, _ in _open(root).entries()))
    took: dict[str, list[float]] = {"ours": [], "set": []}
    for _ in range(_TIMES if count < _LARGEST // 2 else _TIMES_OF_MANY):
        took["ours"].append(_cpu(lambda: _open(root)))
        took["set"].append(_cpu(lambda: set(keys)))
    return took


def look_up(root: str, count: int, _parts: int) -> dict[str, Any]:
    """Time finding every record, hashing included, in the ledger and in a set, in turn."""
    ledger, ids = _open(root), list(people(count))
    hashes = {record_hash for record_hash, _ in ledger.entries()}
    salt, number = _subject().salt, int.from_bytes
    gc.collect()
    gc.freeze()

    def in_ledger() -> int:
        return sum(
            entry is not None
            for begin in range(0, count, _BATCH)
            for entry in ledger.known_all(ids[begin : begin + _BATCH])
        )

    def in_set() -> int:
        return sum(
            number(blake2b(each.encode(), digest_size=8, salt=salt).digest(), "little") in hashes
            for each in ids
        )

    took: dict[str, list[float]] = {"ours": [], "set": []}
    for _ in range(_TIMES if count < _LARGEST // 2 else _TIMES_OF_MANY):
        took["ours"].append(_cpu(in_ledger, expected=count))
        took["set"].append(_cpu(in_set, expected=count))
    return took


def compact(root: str, _count: int, _parts: int) -> dict[str, Any]:
    """Time compaction, once."""
    ledger = _open(root)
    return {"cpu": _cpu(ledger.compact)}


def _cpu(work: Callable[[], Any], expected: int | None = None) -> float:
    begun = time.process_time()
    result = work()
    took = time.process_time() - begun
    if expected is not None and result != expected:
        raise SystemExit(f"found {result} of {expected}")
    return took


# Tables.


def whole(*, full: bool = False) -> Table:
    """Measure size, reading and memory, compacted and with the parts of 29 nights."""
    counts = [_MILLION, *([10 * _MILLION] if full else [])]
    rows = [_whole_row(count, parts) for count in counts for parts in (1, 30)]
    return Table(
        "Ledger: size, reading, memory",
        "One part, or a compacted one and those of 29 nights: half a percent of new records a night, and as many "
        f"written again. CPU time, {_TIMES} repetitions in turn with `set(hashes)` of the same records, which are in "
        f"an `array`; {_TIMES_OF_MANY} with ten million. Memory is the peak resident set of the process (VmHWM) "
        "less that before the ledger is opened; for the set, it is the memory that the finished set takes.",
        (
            *("", "records", "MiB per million", "target", "read s", "÷ `set(hashes)`", "target"),
            *("peak MiB", "target", "the set, MiB", "compaction s"),
        ),
        rows,
    )


def _whole_row(count: int, parts: int) -> list[str]:
    with _ledger(count, parts) as root:
        size = _folder_mib(root) / count * _MILLION
        took = _child("read", root, count, parts)
        memory = _child("remember", root, count, parts)
        of_set = _child("remember_set", root, count, parts)
        compaction = _child("compact", root, count, parts) if parts > 1 else None
    if not memory["entries"] == of_set["entries"] == count:
        raise SystemExit(f"the ledger has not all records: {memory}, {of_set}")
    ratio = over(Spread(took["ours"]), Spread(took["set"]))
    is_of_target = count == _MILLION
    return [
        f"{parts} parts" if parts > 1 else "compacted",
        f"{count:,}",
        f"{size:.2f}",
        status(size, _MOST_MIB[parts]),
        Spread(took["ours"]).text(),
        ratio.text(),
        status(ratio.median, _MOST_READING[parts]),
        f"{memory['peak']:.0f}",
        status(memory["peak"], _MOST_MEMORY[parts]) if is_of_target else "",
        f"{of_set['peak']:.0f}",
        f"{compaction['cpu']:.2f}" if compaction else "",
    ]


def growth(*, full: bool = False) -> Table:
    """Measure the cost per record for larger and larger ledgers."""
    counts = [*_SIZES, *([_LARGEST] if full else [])]
    reading, found, ratios = [], [], []
    for count in counts:
        with _ledger(count, 1) as root:
            reading.append(min(_child("read", root, count, 1)["ours"]) / count * 1e6)
            took = _child("look_up", root, count, 1)
        found.append(min(took["ours"]) / count * 1e6)
        ratios.append(over(Spread(took["ours"]), Spread(took["set"])).median)
    spread = max(reading[1:]) / min(reading[1:])
    worst = max(ratios[1:])
    return Table(
        "Ledger: growth, and look-ups next to a `set`",
        f"µs of CPU per record, compacted; the best of {_TIMES} repetitions (of {_TIMES_OF_MANY} with ten million). "
        "Each size is eight times the one before, so that the fan-out is as dense: its slots are a power of two, and "
        "between these sizes reading costs up to half as much again. A look-up includes hashing, and gives the entry; "
        f"the set says only whether a hash is in it. The last figure is, from {_SIZES[1]:,} on, the highest over "
        "the lowest, and the worst ratio. All of it becomes slower beyond the size of the processor's cache.",
        ("", *(f"{count:,}" for count in counts), "worst", "target"),
        [
            ["reading", *(f"{each:.3f}" for each in reading), f"{spread:.2f}", status(spread, _LINE)],
            ["look-up", *(f"{each:.2f}" for each in found), "", ""],
            [
                "look-up ÷ the same loop over a set of ints",
                *(f"{each:.2f}" for each in ratios),
                f"{worst:.2f}",
                status(worst, _MOST_LOOKING_UP),
            ],
        ],
    )


def tables(*, full: bool = False) -> list[Table]:
    """Measure everything; ``full`` adds ten million records."""
    return [whole(full=full), growth(full=full)]


def _folder_mib(root: str) -> float:
    return sum(file.stat().st_size for file in (Path(root) / "ledger").iterdir()) / 2**20


# One measurement in a process of its own.

_MEASURES: dict[str, Callable[[str, int, int], dict[str, Any]]] = {
    each.__name__: each for each in (make, remember, remember_set, read, look_up, compact)
}


def _child(what: str, root: str, count: int, parts: int) -> dict[str, Any]:
    command = [sys.executable, __file__, what, root, str(count), str(parts)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    took: dict[str, Any] = json.loads(output)
    return took


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in _MEASURES:
        print(json.dumps(_MEASURES[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
    else:
        for table in tables(full="--full" in sys.argv):
            print(table.markdown())
