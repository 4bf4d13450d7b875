"""Files of another shape than their name says: read without guessing, or refused before the first request."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from tests.support.files import read_file
from tests.support.requests_sent import writes

PEOPLE = ["ada@example.com", "grace@example.com", "mary@example.com"]


@pytest.fixture
def parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as module

    def write(kind, values, **others):
        path = tmp_path / "people.parquet"
        made = pyarrow.array(values, kind) if kind is not None else pyarrow.array(values)
        module.write_table(pyarrow.table({**others, "email": made}), path)
        return path

    return write


@pytest.fixture
def refused(enroll_file, meisa_sandbox, everything_written):
    """Run a task that must fail before its first request; return what was written."""

    def run(path, **arguments):
        ran = enroll_file(path, skip_suppressed=True, **arguments)
        assert ran.state == "failed"
        assert writes(meisa_sandbox) == []
        assert meisa_sandbox.enrollments("onboarding") == []
        written = everything_written()
        assert "ada@" not in written
        assert "Secret" not in written
        return written

    return run


def enrolled(sandbox):
    return sorted(row["email"] for row in sandbox.enrollments("onboarding"))


def zipped():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", "<worksheet/>")
    return target.getvalue()


def tarred():
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("people.csv"))
    return target.getvalue()


# Parquet.


@pytest.mark.parametrize(
    "kind", ["string", "large_string", "string_view", "binary", "large_binary", "binary_view"]
)
def test_parquet_text_and_bytes_of_text_are_enrolled(enroll_file, parquet, meisa_sandbox, kind):
    pyarrow = pytest.importorskip("pyarrow")
    values = [value.encode() if "binary" in kind else value for value in PEOPLE]
    assert enroll_file(parquet(getattr(pyarrow, kind)(), [*values, None])).state == "success"
    assert enrolled(meisa_sandbox) == PEOPLE


@pytest.mark.parametrize("values", [PEOPLE, [value.encode() for value in PEOPLE]], ids=["text", "bytes"])
def test_parquet_dictionary_of_text_is_read(parquet, values):
    pyarrow = pytest.importorskip("pyarrow")
    assert read_file(parquet(None, pyarrow.array(values).dictionary_encode())) == PEOPLE


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([{"value": PEOPLE[0]}], "struct"),
        ([[PEOPLE[0]]], "list"),
        ([17], "int64"),
        ([True], "bool"),
        ([1.5], "double"),
    ],
)
def test_parquet_column_of_another_type_is_refused(refused, parquet, values, kind):
    written = refused(parquet(None, values))
    assert f"the column for email_column is of type {kind}, not text. Set email_column" in written


def test_parquet_bytes_that_are_no_text_are_refused(refused, parquet):
    pyarrow = pytest.importorskip("pyarrow")
    assert "row 2: bytes that are not text in UTF-8" in refused(
        parquet(pyarrow.binary(), [PEOPLE[0].encode(), b"\xff\xfe"])
    )


def test_parquet_names_with_dots_do_not_mislead(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as module

    path = tmp_path / "people.parquet"
    module.write_table(pyarrow.table({"email.old": ["x@example.com"], "email": [PEOPLE[0]]}), path)
    assert read_file(path) == PEOPLE[:1]
    assert read_file(path, column="email.old") == ["x@example.com"]


# JSON.


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(PEOPLE),
        json.dumps(PEOPLE, indent=2),
        json.dumps([{"id": n, "email": who} for n, who in enumerate(PEOPLE)]),
        "\n\n" + json.dumps([{"id": n, "Email": who} for n, who in enumerate(PEOPLE)], indent=4) + "\n",
        json.dumps([{"contact": who} for who in PEOPLE]).replace("}, ", "}\r\n,\t"),
    ],
    ids=["texts", "texts indented", "records", "records indented", "only key"],
)
def test_json_array_is_enrolled(enroll_file, file, meisa_sandbox, content):
    assert enroll_file(file("people.jsonl", content)).state == "success"
    assert enrolled(meisa_sandbox) == PEOPLE


def test_json_array_of_many_records_is_read_in_pieces(file):
    people = [f"person{n}@example.com" for n in range(5_000)]
    records = [{"email": who, "note": "x" * (n % 97), "tags": [["]", "}"]]} for n, who in enumerate(people)]
    for indent in (None, 1):
        assert read_file(file("people.jsonl", json.dumps(records, indent=indent))) == people


def test_empty_json_array_has_no_address(file):
    assert read_file(file("people.jsonl", " [ ]\n")) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"email": "ada@example.com"}, 7]', "record 2: a number, where an object"),
        ('[{"email": "ada@example.com"}, {"email": ["Secret"]}]', "record 2: email_column holds a list"),
        ('["ada@example.com",\n"Secret"', "record 2: the JSON array breaks off after it"),
        ('["ada@example.com",\n{"Secret', "record 2: not JSON"),
        ('["ada@example.com"\n"Secret"]', "record 1: the JSON array breaks off after it"),
        ('[\n"ada@example.com"\n]\n["Secret"]\n', "record 1: more follows the JSON array"),
        ('["ada@example.com"]\n["Secret"]\n', "line 1: a list, where an object"),
        ('[1, "ada@example.com"]\n\n[2, "Secret"]\n', "line 1: a list, where an object"),
    ],
)
def test_broken_json_array_is_refused(refused, file, content, message):
    assert message in refused(file("people.jsonl", content))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (17, "line 601: email_column holds a number, not a text"),
        (1.5, "line 601: email_column holds a number, not a text"),
        (False, "line 601: email_column holds true or false, not a text"),
        ({"address": "Secret"}, "line 601: email_column holds an object, not a text"),
        (["Secret"], "line 601: email_column holds a list, not a text"),
    ],
)
def test_json_value_that_is_no_text_stops_first(refused, file, value, message):
    lines = [json.dumps({"email": f"person{n}@example.com"}) for n in range(600)]
    assert message in refused(file("people.jsonl", "\n".join([*lines, json.dumps({"email": value})])))


@pytest.mark.parametrize(
    ("line", "message"), [("7", "a number"), ("true", "true or false"), ('["x"]', "a list")]
)
def test_json_line_that_is_no_record_stops_first(refused, file, line, message):
    written = refused(file("people.jsonl", f'"ada@example.com"\n{line}\n'))
    assert f"line 2: {message}, where an object or an address in quotes must be" in written


def test_null_is_one_invalid_row(enroll_file, file):
    ran = enroll_file(file("people.jsonl", '{"email": "ada@example.com"}\n{"email": null}\nnull\n'))
    assert ran.state == "success"
    assert ran.xcom("task")["counts"]["invalid"] == 2


def test_only_key_must_stay_alone(refused, file):
    content = '{"name": "Secret"}\n' * 1_000 + '{"name": "x", "email": "ada@example.com"}\n'
    written = refused(file("people.jsonl", content))
    assert "line 1,001: other keys than the records before; set email_column" in written


# A list of addresses that is none.


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("id,email\n1,ada@example.com\n", 1),
        ("1;Secret;ada@example.com\n", 1),
        ("Secret\tada@example.com\n", 1),
        ("1|Secret|ada@example.com\n", 1),
        ("ada@example.com, grace@example.com, mary@example.com", 1),
        ("grace@example.com\nmary@example.com;ada@example.com\n", 2),
        ("grace@example.com\n\nmary@example.com ada@example.com\n", 3),
        ("ada@example.com,\ngrace@example.com,\n", 1),
    ],
)
def test_lines_with_several_cells_are_refused(refused, file, content, line):
    written = refused(file("people.txt", content))
    assert f"line {line}: it holds more than an address" in written
    assert "set format to 'csv'" in written


def test_lines_that_are_only_bad_addresses_stay_invalid(file):
    lines = ["ada@example.com", "no address, sorry", "Ada <ada@example.com>", "a|b@example.com"]
    assert read_file(file("people.txt", "\n".join(lines))) == lines


@pytest.mark.parametrize("name", ["people.txt", "people.csv", "people.tsv", "people.jsonl"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>\n<html><body>ada@example.com</body></html>", "an HTML or XML page"),
        (b"\xef\xbb\xbf\n  <html lang='en'>ada@example.com", "an HTML or XML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an HTML or XML page"),
        (zipped(), "a ZIP archive, such as an Excel workbook (.xlsx)"),
        (tarred(), "a tar archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an old Office document"),
        (b"PAR1\x15\x04ada@example.comPAR1", "it is Parquet. Set format to 'parquet'"),
        (b"%PDF-1.7\nada@example.com", "it is a PDF"),
        (b"SQLite format 3\x00ada@example.com", "a SQLite database"),
        (b"ada@example.com\x00\x01\x02", "binary, or text in another encoding"),
    ],
    ids=lambda value: value[-24:] if isinstance(value, str) else "",
)
def test_what_is_no_text_of_its_format_is_refused(refused, file, name, content, message):
    assert message in refused(file(name, content))


@pytest.mark.parametrize(
    "content", ['{"email": "ada@example.com"}\n', '["ada@example.com"]', '[\n{"email": 1}]']
)
@pytest.mark.parametrize("name", ["people.txt", "people.csv", "people.tsv"])
def test_json_under_another_name_is_refused(file, name, content):
    with pytest.raises(MeisaInputError, match=r"it is JSON\. Set format to 'jsonl'"):
        read_file(file(name, content))


@pytest.mark.parametrize(
    "inside", [zipped(), tarred(), gzip.compress(b"ada@example.com", mtime=0)], ids=["zip", "tar", "gzip"]
)
def test_what_gzip_holds_is_looked_at_too(file, inside):
    with pytest.raises(MeisaInputError, match=r"people\.csv\.gz is not CSV: it is"):
        read_file(file("people.csv.gz", gzip.compress(inside, mtime=0)))


@pytest.mark.parametrize("header", ["ORC", "PAR1", "BZh"])
def test_column_named_like_a_file_signature_is_read(file, header):
    assert read_file(file("people.csv", f"{header},email\n1,ada@example.com\n")) == PEOPLE[:1]


# The column.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("people.csv", "contact address\nada@example.com\n"),
        ("people.csv", "id,EMAIL\n1,ada@example.com\n"),
        ("people.tsv", "Mail\nada@example.com\n"),
        ("people.tsv", "e-mail\tEmail \tid\nx\tada@example.com\t1\n"),
        ("people.jsonl", '{"mail": "ada@example.com"}\n'),
        ("people.jsonl", '{"id": 1, "eMail": "ada@example.com"}\n'),
    ],
)
def test_column_is_found_without_its_name(enroll_file, file, meisa_sandbox, name, content):
    assert enroll_file(file(name, content)).state == "success"
    assert enrolled(meisa_sandbox) == PEOPLE[:1]


def test_only_column_of_parquet_is_taken(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as module

    path = tmp_path / "people.parquet"
    module.write_table(pyarrow.table({"contact": PEOPLE}), path)
    assert read_file(path) == PEOPLE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,mail,created_at\n1,ada@example.com,x\n", "it has: id, mail, created_at."),
        (
            "17,Secret,London\n18,Secret,Paris\n",
            "it has 3, and the values in their place do not look like",
        ),
        ("Secret Person,1815-12-10,\n", "it has 3, and the values in their place"),
        ("Secret,+44 20 7946 0000\n", "it has 2, and the values in their place"),
        ("Ann,Secret,London\nBob,Lee,Paris\n", "it has 3, and the values in their place"),
        ("Secret,,ada\n", "it has 3, and the values in their place"),
        ("Secret,ada@example.com\n", "instead of names there is an address"),
        ("ada@example.com\ngrace@example.com\n", "instead of names there is an address"),
        ("4711\n4712\n", "it has 1, and the values in their place"),
    ],
)
def test_names_are_shown_only_where_they_look_so(refused, file, content, message):
    written = refused(file("people.csv", content))
    assert message in written
    assert not any(one in written for one in ("1815-12-10", "London", "+44 20 7946"))


def test_keys_that_are_no_names_are_not_shown(refused, file):
    assert "instead of names there is an address" in refused(
        file("people.jsonl", '{"ada@example.com": 1, "Secret": 2}\n')
    )
