"""Files of every kind, as they are written and as they are broken: addresses come out, or an error without content."""

import gzip
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.transfers.sources.files import read_addresses

MARK = "ada.lovelace@private.example"
NAMES = ["people.csv", "people.tsv", "people.jsonl", "people.txt", "people.parquet"]
PLAIN = {
    "people.csv": f"id,email\n1,{MARK}\n2,grace@example.com\n".encode(),
    "people.tsv": f"id\temail\n1\t{MARK}\n2\tgrace@example.com\n".encode(),
    "people.jsonl": b"".join(
        json.dumps({"id": n, "email": who}).encode() + b"\n" for n, who in enumerate([MARK, None])
    ),
    "people.txt": f"{MARK}\ngrace@example.com\n".encode(),
}

at_length = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WORDS = b'email , " { } [ {"email": "a@b.co"} \\ud800 null PAR1 1e999 NaN \xff \xef\xbb\xbf \xff\xfe \xc3 \x1f\x8b'
pieces = st.sampled_from([*WORDS.split(b" "), MARK.encode(), b"\n", b"\r\n", b"\r", b"\t", b"\x00"])
content = st.binary(max_size=120) | st.lists(pieces, max_size=25).map(b"".join)
columns = st.none() | st.sampled_from(["email", "EMAIL ", "", MARK]) | st.integers(-1, 3)
encodings = st.sampled_from(
    ["utf-8-sig", "utf-16", "latin-1", "ascii", "cp037", "no such", "", "rot13", "idna", "punycode"]
)


def read(path, column=None, encoding="utf-8-sig"):
    """Read a file; of an error, check that it names a line and no content."""
    try:
        return list(read_addresses(path, file_format=None, column=column, encoding=encoding))
    except (MeisaInputError, MeisaUnreachableError) as error:
        message = str(error)
        assert message.isprintable()
        assert "lovelace" not in message or column == MARK
        return None


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("name", NAMES)
@example(content=b"email\n" + b"x" * 200_000, column=None, encoding="utf-8-sig")
@example(content=b"[" * 100_000, column=None, encoding="utf-8-sig")
@example(content=b'{"email": ' + b"9" * 5_000 + b"}", column=None, encoding="utf-8-sig")
@at_length
@given(content=content, column=columns, encoding=encodings)
def test_any_bytes_are_read_or_refused_without_their_content(
    tmp_path, name, ending, content, column, encoding
):
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(gzip.compress(content, 1) if ending else content)
    read(path, column, encoding)


@pytest.mark.parametrize("name", PLAIN)
@at_length
@given(cut=st.floats(0, 0.99), flipped=st.integers(0, 10_000))
def test_a_gzip_cut_short_is_never_taken_for_a_whole_one(tmp_path, name, cut, flipped):
    path, packed = tmp_path / f"{name}.gz", gzip.compress(PLAIN[name], mtime=0)
    path.write_bytes(packed[: max(1, int(cut * len(packed)))])
    assert read(path) is None
    broken = bytearray(packed)
    broken[flipped % len(packed)] ^= 1 << flipped % 8
    path.write_bytes(broken)
    read(path)


some_text = st.text(st.characters(codec="utf-8"), max_size=30)
one_line = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters=",;|<{["),
    min_size=1,
    max_size=30,
)


@at_length
@given(st.lists(some_text | st.none(), max_size=20), st.booleans())
def test_whatever_json_lines_hold_is_read_back(tmp_path, values, in_objects):
    path = tmp_path / "people.jsonl"
    records = [{"email": value} for value in values] if in_objects else values
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert read(path) == values


@at_length
@given(st.lists(one_line, max_size=20), st.sampled_from(["\n", "\r\n"]))
def test_whatever_lines_hold_is_read_back_trimmed(tmp_path, values, ending):
    path = tmp_path / "people.txt"
    path.write_bytes("".join(value + ending for value in values).encode())
    assert read(path) == [value.strip() for value in values]
