"""Encodings, byte order marks and compression: what a file holds decides, not what its name says."""

from __future__ import annotations

import codecs
import gzip
import json
from pathlib import Path

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.operators.location import locate
from airflow_provider_meisa.transfers.sources.encodings import encoding_of
from tests.support.files import read_file
from tests.support.requests_sent import addresses_sent

PEOPLE = ["ada@example.com", "grace@example.com", "mary@example.com"]
TEXTS = {
    "people.csv": "id,email\r\n" + "".join(f"{n},{who}\r\n" for n, who in enumerate(PEOPLE)),
    "people.tsv": "email\tid\n" + "".join(f"{who}\t{n}\n" for n, who in enumerate(PEOPLE)),
    "people.jsonl": "".join(json.dumps({"email": who, "id": n}) + "\n" for n, who in enumerate(PEOPLE)),
    "people.json": json.dumps([{"email": who} for who in PEOPLE], indent=2),
    "people.txt": "\n".join(PEOPLE),
}
MARKED = {
    "UTF-8": codecs.BOM_UTF8,
    "UTF-16-LE": codecs.BOM_UTF16_LE,
    "UTF-16-BE": codecs.BOM_UTF16_BE,
    "UTF-32-LE": codecs.BOM_UTF32_LE,
    "UTF-32-BE": codecs.BOM_UTF32_BE,
}


# Byte order marks.


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("shown", MARKED)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_marks_in_front_show_the_encoding(file, name, shown, count):
    path = file(name, MARKED[shown] * count + TEXTS[name].encode(shown))
    for encoding in ("utf-8-sig", "utf-8", "UTF8", "utf-16", "latin-1", shown):
        assert read_file(path, encoding=encoding) == PEOPLE


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("shown", ["UTF-16-LE", "UTF-16-BE"])
def test_utf_16_without_a_mark_is_recognised(file, name, shown):
    path = file(name, TEXTS[name].encode(shown))
    assert read_file(path) == read_file(path, encoding="utf-16") == read_file(path, encoding=shown) == PEOPLE


@pytest.mark.parametrize(
    ("head", "encoding", "found"),
    [
        (b"", "utf-8", "utf-8"),
        (b"a\0", "utf-8", "utf-8"),
        (b"email\nada", "utf-8-sig", "utf-8-sig"),
        (b"people.csv" + bytes(99), "utf-8", "utf-8"),
        (b"e\0m\0a\0", "latin-1", "latin-1"),
        ("名前,メール\n".encode(), "utf-8", "utf-8"),
        ("id\tメール\nada".encode("utf-16-le"), "utf-8", "utf-16-le"),
    ],
)
def test_encoding_is_changed_only_where_it_shows(head, encoding, found):
    assert encoding_of(head, encoding) == found


def test_utf_16_is_enrolled_and_logged(enroll_file, file, meisa_sandbox, everything_written):
    path = file("people.csv", codecs.BOM_UTF16_LE + TEXTS["people.csv"].encode("utf-16-le"))
    assert enroll_file(path).state == "success"
    assert addresses_sent(meisa_sandbox) == PEOPLE
    assert "people.csv: read as UTF-16-LE, as its first bytes show" in everything_written()


# Files that were joined.

MARK = "\ufeff"


def lines(*addresses):
    return "".join(f'{{"email": "{address}"}}\n' for address in addresses)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "people.csv",
            f"{MARK}email,id\n{PEOPLE[0]},1\n{MARK}email,id\n{PEOPLE[1]},2\n{MARK}{PEOPLE[2]},3\n",
        ),
        ("people.csv", f"{MARK}email,id\n{PEOPLE[0]},1\n{PEOPLE[1]},2{MARK}email,id\n{PEOPLE[2]},3{MARK}\n"),
        ("people.csv", f'{MARK}"email","id"\n{MARK}"{PEOPLE[0]}","1"\n{PEOPLE[1]},2\n{PEOPLE[2]},3\n{MARK}'),
        ("people.csv", f'"{MARK}email",id\n' + "".join(f"{who},1\n" for who in PEOPLE)),
        ("people.csv", f"id, {MARK}Email \u200b\n" + "".join(f"1,{who}\n" for who in PEOPLE)),
        (
            "people.tsv",
            f"{MARK}email\tid\n{PEOPLE[0]}\t1\n{MARK}{PEOPLE[1]}\t2\n{MARK}{MARK}{PEOPLE[2]}\t3\n",
        ),
        ("people.jsonl", MARK + lines(PEOPLE[0]) + MARK + lines(*PEOPLE[1:])),
        ("people.jsonl", MARK + lines(PEOPLE[0]).strip() + MARK + lines(*PEOPLE[1:]) + MARK),
        ("people.txt", f"{MARK}{PEOPLE[0]}\n{MARK}{PEOPLE[1]}\n{MARK}\n{PEOPLE[2]}\n{MARK}"),
        ("people.txt", f"{MARK}{PEOPLE[0]}{MARK}{PEOPLE[1]}{MARK}{PEOPLE[2]}"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_joined_files_are_read_as_one(file, name, content, encoding):
    read_back = read_file(file(name, content.encode(encoding)), encoding=encoding)
    assert [address.strip(MARK) for address in read_back] == PEOPLE


def test_numbers_of_lines_count_the_header_that_came_again(file):
    content = f"{MARK}email,id\n{PEOPLE[0]},1\n{MARK}email,id\n{PEOPLE[1]},2\nSecret\n"
    with pytest.raises(MeisaInputError, match="line 5: 1 fields, where the first line has 2"):
        read_file(file("people.csv", content))


# Compression.


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("ending", [".gz", ".GZ", ".Gz", ""])
@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_gzip_is_known_by_its_content(file, name, ending, is_packed, encoding):
    content = TEXTS[name].encode(encoding)
    assert read_file(file(name.upper() + ending, gzip.compress(content) if is_packed else content)) == PEOPLE


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("name", ["people.parquet", "people.parquet.gz", "PEOPLE.PARQUET"])
def test_parquet_may_be_gzip_too(tmp_path, name, is_packed):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = Path(tmp_path / name)
    parquet.write_table(pyarrow.table({"email": PEOPLE}), path)
    if is_packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert read_file(path) == PEOPLE


@pytest.mark.parametrize("name", ["people.csv", "people.csv.gz"])
@pytest.mark.parametrize("is_packed", [True, False])
def test_gzip_in_a_store_is_known_by_content(memory_store, name, is_packed):
    content = TEXTS["people.csv"].encode()
    memory_store.pipe(f"/bucket/{name}", gzip.compress(content) if is_packed else content)
    assert read_file(locate(f"memory://bucket/{name}")) == PEOPLE


def test_members_of_gzip_are_read_to_the_last(file):
    members = [gzip.compress(f"{MARK}{who}\n".encode()) for who in PEOPLE]
    assert read_file(file("people.txt", b"".join(members))) == PEOPLE


def test_gzip_within_gzip_is_refused(file):
    content = gzip.compress(gzip.compress(b"ada@example.com", mtime=0), mtime=0)
    with pytest.raises(MeisaInputError, match=r"it is gzip within gzip\. Decompress it once"):
        read_file(file("people.csv.gz", content))


def test_gzip_under_another_name_is_enrolled(enroll_file, file, meisa_sandbox):
    assert enroll_file(file("people.csv", gzip.compress(TEXTS["people.csv"].encode()))).state == "success"
    assert addresses_sent(meisa_sandbox) == PEOPLE


# What is long.


@pytest.mark.parametrize("size", [131_073, 1_100_000, 3_000_000])
@pytest.mark.parametrize("name", ["people.csv", "people.tsv", "people.jsonl", "people.json"])
def test_long_cells_and_records_are_read(file, name, size):
    note = "x" * size
    contents = {
        "people.csv": f'note,email\n{note},{PEOPLE[0]}\n"{note}",{PEOPLE[1]}\n{note},{PEOPLE[2]}\n',
        "people.tsv": "note\temail\n" + "".join(f"{note}\t{who}\n" for who in PEOPLE),
        "people.jsonl": "".join(json.dumps({"note": note, "email": who}) + "\n" for who in PEOPLE),
        "people.json": json.dumps([{"note": note, "email": who} for who in PEOPLE]),
    }
    assert read_file(file(name, MARK + contents[name])) == PEOPLE


@pytest.mark.parametrize(
    ("name", "before", "behind", "message"),
    [
        ("people.csv", "email,note\nx,", "\n", "line 2: a line of more than 16,777,216 characters"),
        ("people.jsonl", '"x"\n"', '"\n', "line 2: a line of more than 16,777,216 characters"),
        ("people.json", '[\n"x",\n"', '"\n]', "record 2: a record of more than 16,777,216 characters"),
    ],
)
def test_what_is_too_long_is_refused_with_its_reason(file, name, before, behind, message):
    with pytest.raises(MeisaInputError, match=message):
        read_file(file(name, before + "x" * 34_000_000 + behind))


def test_cell_of_many_long_lines_is_refused_as_such(file):
    cell = ("x" * 9_000_000 + "\n") * 2
    with pytest.raises(MeisaInputError, match="line 2: a cell of more than 16,777,216 characters"):
        read_file(file("people.csv", f'email,note\nx,"{cell}"\n'), quoting="multiline")
