"""The same ledger on a disk, in an S3 of this process, and in a filesystem whose listings are cached."""

import itertools

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from airflow_provider_meisa.api.errors import MeisaLedgerError, MeisaUnreachableError
from airflow_provider_meisa.bulk.ledger import State
from airflow_provider_meisa.bulk.ledger import store as store_module
from airflow_provider_meisa.bulk.ledger.store import DiskStore, ObjectStore, store_at
from tests.support.ledgers import DAY, s3_path, s3_server

PEOPLE = [f"person{number}@private.example" for number in range(3000)]
BUCKET = "ledgers"

_folders = itertools.count()


@pytest.fixture(scope="module")
def s3():
    with s3_server(BUCKET) as url:
        yield url


@pytest.fixture
def s3_root(s3):
    """Give the same folder through filesystems of their own, as two workers have them."""
    folder = f"{BUCKET}/airflow/{next(_folders)}"
    return lambda: s3_path(s3, folder, skip_instance_cache=True)


@pytest.fixture
def memory_root():
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    return lambda: UPath("memory://bucket/airflow")


@pytest.fixture(params=["disk", "file", "memory", "s3"])
def new_root(request, tmp_path):
    if request.param == "disk":
        return lambda: tmp_path
    if request.param == "file":
        return lambda: UPath(f"file://{tmp_path}")
    return request.getfixturevalue(f"{request.param}_root")


def accept(ledger, people, run):
    with ledger.writer(run, repeat="ambiguous") as writer:
        writer.put(dict.fromkeys(people, 0))
        for each in people:
            writer.add(each, State.ACCEPTED)


def test_nights_on_every_store(open_ledger, new_root, clock):
    for night in range(4):
        accept(open_ledger(new_root()), PEOPLE[night * 700 : night * 700 + 900], run=f"night {night}")
        clock.now += DAY
    ledger = open_ledger(new_root())
    assert (ledger.count, ledger.parts) == (3000, 4)
    assert ledger.compact()
    for found in (ledger, open_ledger(new_root())):
        assert {entry.state for entry in found.known_all(PEOPLE)} == {State.ACCEPTED}
        assert (found.count, found.parts) == (3000, 1)


def test_worker_sees_what_others_write_despite_cached_listings(open_ledger, s3_root):
    accept(open_ledger(s3_root()), PEOPLE[:1], run="night 1")
    root = s3_root()
    ledger = open_ledger(root)
    root.fs.ls(str(root.path) + "/reactivation", detail=False)
    assert root.fs.dircache, "the listing cache is off: this test proves nothing"
    other = open_ledger(s3_root())
    accept(other, PEOPLE[1:2], run="night 2")
    other.compact()
    assert ledger.known(PEOPLE[1]) is None
    ledger.refresh()
    assert ledger.known(PEOPLE[1]).state is State.ACCEPTED
    assert open_ledger(root).known(PEOPLE[1]).state is State.ACCEPTED
    assert open_ledger(root).parts == 1


def test_large_part_is_read_in_blocks(open_ledger, new_root, monkeypatch):
    monkeypatch.setattr(store_module, "FIRST_BLOCK", 1000)
    monkeypatch.setattr("airflow_provider_meisa.bulk.ledger.part.FIRST_BLOCK", 1000)
    monkeypatch.setattr("airflow_provider_meisa.bulk.ledger.part.BLOCK", 4096)
    accept(open_ledger(new_root()), PEOPLE, run="night 1")
    assert open_ledger(new_root()).count == 3000


@pytest.mark.parametrize("cut", [0, 10, 2000, -1])
def test_truncated_object_is_noticed(open_ledger, new_root, cut, monkeypatch):
    monkeypatch.setattr(store_module, "FIRST_BLOCK", 1000)
    monkeypatch.setattr("airflow_provider_meisa.bulk.ledger.part.FIRST_BLOCK", 1000)
    ledger = open_ledger(new_root())
    accept(ledger, PEOPLE[:500], run="night 1")
    accept(ledger, PEOPLE[500:501], run="night 2")
    folder = new_root() / "reactivation"
    damaged = max((folder / name for name in store_at(folder).names()), key=lambda part: part.stat().st_size)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:cut])
    with pytest.raises(MeisaLedgerError, match="cut short"):
        open_ledger(new_root())
    damaged.write_bytes(content + b"\0")
    with pytest.raises(MeisaLedgerError, match="too long"):
        open_ledger(new_root())


def test_part_that_goes_between_listing_and_reading(open_ledger, new_root, monkeypatch):
    """Another run compacts after this one has listed."""
    for night in range(3):
        accept(open_ledger(new_root()), PEOPLE[night : night + 1], run=f"night {night}")
    kind = type(store_at(new_root() / "reactivation"))
    whole, compacted = kind.names, []

    def names(self):
        found = whole(self)
        if not compacted:
            compacted.append(True)
            open_ledger(new_root()).compact()
        return found

    monkeypatch.setattr(kind, "names", names)
    ledger = open_ledger(new_root())
    assert (ledger.count, ledger.parts) == (3, 1)


def test_listing_that_has_neither_old_nor_new_part_is_retried(open_ledger, tmp_path, monkeypatch):
    """A listing is not one moment: a part may go before it is reached, its successor come behind."""
    for night in range(3):
        accept(open_ledger(), PEOPLE[night : night + 1], run=f"night {night}")
    whole, first = DiskStore.names, []

    def names(self):
        found = whole(self)
        if not first:
            first.append(found)
            open_ledger().compact()
            return set(sorted(found)[:1])
        return found

    monkeypatch.setattr(DiskStore, "names", names)
    assert open_ledger().count == 3


def test_ledger_that_is_compacted_all_the_time_fails(open_ledger, monkeypatch):
    numbers = itertools.count()
    monkeypatch.setattr(DiskStore, "names", lambda self: {f"{next(numbers)}-00.part"})
    with pytest.raises(MeisaUnreachableError, match="too often"):
        open_ledger()


@pytest.mark.parametrize("root_of", ["memory_root", "s3_root"])
def test_object_is_written_in_one_put_and_never_opened(open_ledger, request, root_of, monkeypatch):
    new_root = request.getfixturevalue(root_of)
    kind = type(new_root().fs)
    if root_of == "s3_root":
        monkeypatch.setattr(kind, "open", lambda *_, **__: pytest.fail("opened"))
    accept(open_ledger(new_root()), PEOPLE[:3], run="night 1")
    before = store_at(new_root() / "reactivation").names()

    def broken(self, path, value, **arguments):
        raise OSError("the connection broke")

    monkeypatch.setattr(kind, "pipe_file", broken)
    with pytest.raises(MeisaUnreachableError, match="reactivation cannot be reached"):
        open_ledger(new_root()).write([(PEOPLE[5], 0)], State.ACCEPTED, by="night 2")
    assert store_at(new_root() / "reactivation").names() == before


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_disk_that_fails_leaves_nothing(open_ledger, tmp_path, monkeypatch, call):
    accept(open_ledger(), PEOPLE[:1], run="night 1")
    ledger = open_ledger()

    def broken(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync" if call == "fsync" else "pathlib.Path.replace", broken)
    with pytest.raises(MeisaUnreachableError, match="No space left on device"):
        ledger.write([(PEOPLE[5], 0)], State.ACCEPTED, by="night 2")
    monkeypatch.undo()
    assert len(list((tmp_path / "reactivation").iterdir())) == 1
    assert open_ledger().count == 1


def test_bucket_that_is_not_there_is_named(open_ledger, s3):
    root = s3_path(s3, "no-such-bucket/airflow", skip_instance_cache=True)
    with pytest.raises(MeisaUnreachableError, match="no-such-bucket"):
        open_ledger(root).write([(PEOPLE[0], 0)], State.ACCEPTED, by="night 1")


def test_store_that_is_down_is_not_an_empty_ledger(open_ledger):
    root = s3_path(
        "http://127.0.0.1:9",
        f"{BUCKET}/x",
        skip_instance_cache=True,
        config_kwargs={"retries": {"max_attempts": 0}},
    )
    with pytest.raises(MeisaUnreachableError, match="cannot be reached"):
        open_ledger(root)


def test_kind_of_store_follows_the_path(tmp_path, memory_root):
    assert isinstance(store_at(tmp_path), DiskStore)
    assert isinstance(store_at(UPath(f"file://{tmp_path}")), DiskStore)
    assert isinstance(store_at(memory_root()), ObjectStore)


@pytest.mark.airflow
def test_ledger_lies_where_airflow_finds_it(open_ledger, memory_root, tmp_path):
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach

    attach("memory", fs=memory_root().fs)
    for root in (ObjectStoragePath("memory://bucket/airflow"), ObjectStoragePath(f"file://{tmp_path}")):
        accept(open_ledger(root), PEOPLE[:3], run="night 1")
        assert open_ledger(root).count == 3
