import csv
import gzip
import json
import sys
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.operators.location import locate
from airflow_provider_meisa.transfers.sources.files import read_addresses
from tests.support.requests_sent import addresses_sent

PEOPLE = ["ada@example.com", "grace@example.com", "ünïcode@example.com"]


def read(path, *, file_format=None, column=None, encoding="utf-8-sig"):
    return list(read_addresses(path, file_format=file_format, column=column, encoding=encoding))


@pytest.fixture
def file(tmp_path):
    """Write a file and return its path; `.gz` is compressed."""

    def write(name, content, encoding="utf-8"):
        path = tmp_path / name
        raw = content.encode(encoding) if isinstance(content, str) else content
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return path

    return write


CONTENTS = {
    "people.csv": "id,email\n" + "".join(f'"{n}",{who}\n' for n, who in enumerate(PEOPLE)),
    "people.tsv": "id\temail\r\n" + "".join(f"{n}\t{who}\r\n" for n, who in enumerate(PEOPLE)),
    "people.jsonl": "".join(json.dumps({"id": n, "email": who}) + "\n" for n, who in enumerate(PEOPLE)),
    "people.ndjson": "\n\n".join(json.dumps(who) for who in PEOPLE),
    "people.txt": "\n".join(["", *PEOPLE, "  "]),
}


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "bom"])
@pytest.mark.parametrize("name", CONTENTS)
def test_every_contact_in_a_file_is_read_in_its_order(file, name, mark, ending):
    assert read(file(name + ending, mark + CONTENTS[name])) == PEOPLE


@pytest.mark.parametrize(
    "name", ["people.csv.gz", "people.tsv", "people.jsonl", "people.ndjson", "people.txt"]
)
def test_every_contact_in_a_file_is_enrolled(enroll_file, file, meisa_sandbox, name):
    ran = enroll_file(file(name, CONTENTS[name.removesuffix(".gz")]))
    assert ran.state == "success"
    assert ran.counts() == {"enrolled": 2, "invalid": 1}  # Meisa takes ASCII alone
    assert addresses_sent(meisa_sandbox) == PEOPLE


@pytest.fixture
def parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as module

    def write(**columns):
        path = tmp_path / "people.parquet"
        module.write_table(pyarrow.table(columns), path)
        return path

    return write


def test_parquet_is_read_by_the_name_or_the_number_of_its_column(enroll_file, parquet, meisa_sandbox):
    path = parquet(id=[1, 2, 3], email=[PEOPLE[0], None, PEOPLE[1]])
    assert enroll_file(path).counts() == {"enrolled": 2, "invalid": 1}
    assert read(path, column=1) == read(path, column="Email") == [PEOPLE[0], None, PEOPLE[1]]


def test_parquet_is_read_from_an_object_store(parquet, memory_store):
    memory_store.pipe("/bucket/people.parquet", parquet(email=PEOPLE).read_bytes())
    assert read(locate("memory://bucket/people.parquet")) == PEOPLE


def test_parquet_without_the_column_names_those_there_are(parquet):
    with pytest.raises(MeisaInputError, match=r"no column 'email' for email_column; it has: id, mail\."):
        read(parquet(id=[1], mail=["ada@example.com"]))


def test_what_is_no_parquet_is_refused_without_its_content(file):
    pytest.importorskip("pyarrow")
    with pytest.raises(MeisaInputError, match="not a Parquet file, or is damaged: ArrowInvalid") as caught:
        read(file("people.parquet", "ada@example.com" * 10))
    assert "ada" not in str(caught.value)


def test_without_the_extra_the_message_names_it(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MeisaInputError, match=r"airflow-provider-meisa\[parquet\]"):
        read(file("people.parquet", ""))


def test_the_format_may_be_said_where_the_name_does_not(file):
    assert read(file("people.dat.gz", CONTENTS["people.csv"]), file_format="csv") == PEOPLE
    assert read(file("PEOPLE.CSV", CONTENTS["people.csv"])) == PEOPLE


@pytest.mark.parametrize(("name", "chosen"), [("people.dat", None), ("people", None), ("people.csv", "xlsx")])
def test_an_unknown_format_is_refused(enroll_file, file, everything_written, meisa_sandbox, name, chosen):
    assert enroll_file(file(name, CONTENTS["people.csv"]), format=chosen).state == "failed"
    assert "format must be one of: csv, tsv, jsonl, lines, parquet" in everything_written()
    assert addresses_sent(meisa_sandbox) == []


def test_a_numbered_column_means_a_file_without_a_header(file):
    content = "".join(f"{n},{who}\n" for n, who in enumerate(PEOPLE))
    assert read(file("people.csv", content), column=1) == PEOPLE


def test_another_encoding_may_be_given(file):
    assert read(file("people.txt", "\n".join(PEOPLE), "latin-1"), encoding="latin-1") == PEOPLE


def test_a_path_may_be_a_template_and_a_uri(enroll_file, file, meisa_sandbox):
    path = file("people-7.txt", "ada@example.com\n")
    template = f"file://{path.parent}/people-{{{{ params.number }}}}.txt"
    assert enroll_file(template, params={"number": 7}).counts() == {"enrolled": 1}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_in_an_object_store_is_read_as_a_local_one(memory_store, name, ending):
    raw = CONTENTS[name].encode()
    memory_store.pipe(f"/bucket/{name}{ending}", gzip.compress(raw) if ending else raw)
    assert read(locate(f"memory://bucket/{name}{ending}")) == PEOPLE


def test_a_file_in_an_object_store_is_enrolled(enroll_file, memory_store):
    memory_store.pipe("/bucket/people.csv", b"email\nada@example.com\n")
    assert enroll_file("memory://bucket/people.csv").counts() == {"enrolled": 1}


def test_a_missing_file_is_an_ordinary_failure_and_a_retry_may_find_it(
    enroll_file, tmp_path, everything_written
):
    path = tmp_path / "people.txt"

    def drop(context):
        path.write_text("ada@example.com\n")

    assert enroll_file(path, retries=1, retry_delay=timedelta(0), on_retry_callback=drop).state == "success"
    assert f"There is no file {path}" in everything_written()


@pytest.mark.parametrize(
    ("path", "message"), [("", "path is empty"), ("nosuchstore://bucket/x.csv", "cannot be reached")]
)
def test_a_path_that_cannot_be_one_is_refused(enroll_file, everything_written, meisa_sandbox, path, message):
    assert enroll_file(path).state == "failed"
    assert message in everything_written()
    assert addresses_sent(meisa_sandbox) == []


def test_a_folder_is_not_a_file(tmp_path):
    (tmp_path / "people.csv").mkdir()
    with pytest.raises(MeisaUnreachableError, match="Is a directory"):
        read(tmp_path / "people.csv")


def test_an_empty_file_has_no_contact_in_it(file):
    for name in CONTENTS:
        assert read(file(name, "")) == []
    assert read(file("header.csv", "id,email\n")) == []


@pytest.mark.parametrize(
    ("name", "content", "column", "message"),
    [
        (
            "people.csv",
            "id,mail\n1,ada@example.com\n",
            None,
            "no column 'email' for email_column; it has: id, mail",
        ),
        ("people.csv", "1,Secret,ada@example.com\n", None, "instead of names there is an address"),
        ("people.csv", "Secret,ada@example.com\n", 2, "no column 2 for email_column; it has 2, from 0"),
        ("people.csv", "email,Email,email\n", None, "2 columns 'email'"),
        ("people.csv", ",".join(f"tag{n}" for n in range(25)), None, "tag18, tag19 and 5 more"),
        (
            "people.jsonl",
            '{"id": 1, "mail": "ada@example.com"}',
            None,
            "people.jsonl has no column 'email' for email_column; it has: id, mail",
        ),
        ("people.jsonl", "{}", None, "it has none"),
        ("people.jsonl", '{"email": "ada@example.com"}', 0, "JSON Lines have no numbered columns"),
    ],
)
def test_a_missing_column_fails_at_once_and_the_message_helps(
    enroll_file, file, everything_written, meisa_sandbox, name, content, column, message
):
    assert enroll_file(file(name, content), email_column=column, retries=1).state == "failed"
    assert addresses_sent(meisa_sandbox) == []
    written = everything_written()
    assert message in written
    assert "ada@" not in written
    assert "Secret" not in written


BROKEN = {
    "short.csv": ("id,email\n1,ada@example.com\nSecret\n", "line 3: 1 fields, where the first line has 2"),
    "shifted.csv": ("id,email\n1,Secret,ada@example.com\n", "line 2: 3 fields, where the first line has 2"),
    "quote.csv": (
        'id,email\n1,"Secret\n2,ada@example.com\n',
        "line 2: the quote that opens here is not closed",
    ),
    "stray.csv": (
        'id,email\n1,"Secret" ada@example.com\n',
        "line 2: the quote that opens here is not closed where its cell ends",
    ),
    "long.csv": ("email\nada@example.com\n" + "Secret" * 3_000_000, "line 3: a line of more than 16,777,216"),
    "cut.jsonl": ('{"email": "ada@example.com"}\n{"email": "Secret', "line 2: not JSON"),
    "deep.jsonl": ('"ada@example.com"\n' + "[" * 200_000, "line 2: not JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_line_that_cannot_be_read_is_named_by_its_number_and_not_shown(
    enroll_file, file, everything_written, name
):
    content, message = BROKEN[name]
    assert enroll_file(file(name, content), retries=1).state == "failed"
    written = everything_written()
    assert message in written
    assert "ada@" not in written
    assert "Secret" not in written


@pytest.mark.parametrize("name", ["people.csv", "people.jsonl", "people.txt"])
def test_a_text_in_another_encoding_is_refused_without_its_content(
    enroll_file, file, everything_written, name
):
    assert enroll_file(file(name, CONTENTS["people.txt"].strip() + "\nSecret", "latin-1")).state == "failed"
    written = everything_written()
    assert "is not UTF-8." in written
    assert "Secret" not in written
    assert "ada@" not in written


def test_an_unknown_encoding_is_refused(file):
    with pytest.raises(MeisaInputError, match="encoding must be one that Python knows"):
        read(file("people.txt", "x"), encoding="klingon")


def test_where_a_text_stops_being_readable_is_told(file):
    with pytest.raises(MeisaInputError, match=r"the text after line [0-9,]+ is not UTF-8"):
        read(file("people.txt", b"ada@example.com\n" * 5_000 + b"\xff"))


@pytest.mark.parametrize("name", ["people.csv.gz", "people.jsonl.gz", "people.txt.gz"])
@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-20], lambda raw: b"ada" + raw, lambda raw: raw[:60] + b"\0" * 99]
)
def test_a_damaged_gzip_is_refused(file, name, damage):
    content = CONTENTS[name.removesuffix(".gz")] * 50
    path = file(name, content)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MeisaInputError, match="the gzip is damaged or cut off") as caught:
        read(path)
    assert "ada" not in str(caught.value)


def test_a_record_without_an_address_is_invalid(file, enroll_file):
    path = file("people.jsonl", '{"email": "ada@example.com"}\n{"id": 2}\n{"email": null}\n')
    ran = enroll_file(path)
    assert ran.counts() == {"enrolled": 1, "invalid": 2}
    assert [entry["reason"] for entry in ran.xcom("task")["attention"]] == [
        "no value (None), row 2",
        "no value (None), row 3",
    ]


def test_blank_lines_are_no_contact(file):
    assert read(file("people.txt", "\n \n")) == []
    assert read(file("people.csv", "email\n\nada@example.com\n\n")) == ["ada@example.com"]


def test_neither_addresses_nor_other_columns_are_logged_or_shown(enroll_file, file, everything_written):
    content = (
        "name,email\n"
        + "".join(f"Secret Name,person{n}@example.com\n" for n in range(700))
        + "Secret Name,broken\n"
    )
    assert enroll_file(file("people.csv", content)).counts() == {"enrolled": 700, "invalid": 1}
    written = everything_written()
    assert "Secret" not in written
    assert "person1" not in written


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1)))
def test_whatever_a_csv_writer_writes_is_read_back(tmp_path_factory, values):
    path = Path(tmp_path_factory.mktemp("csv") / "any.csv")
    with path.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, quoting=csv.QUOTE_ALL)
        writer.writerows([["id", "email"], *([n, value] for n, value in enumerate(values))])
    assert read(path) == values


@pytest.mark.parametrize("name", ["many.csv", "many.csv.gz", "many.jsonl", "many.txt"])
def test_200000_lines_take_little_memory(file, name):
    kind = name.partition(".")[2].removesuffix(".gz")
    line = {
        "csv": "{n},person{n}@example.com",
        "jsonl": '{{"email": "person{n}@example.com"}}',
        "txt": "person{n}@example.com",
    }
    lines = [line[kind].format(n=n) for n in range(200_000)]
    path = file(name, "\n".join(["id,email", *lines] if kind == "csv" else lines))
    del lines
    tracemalloc.start()
    try:
        stream = read_addresses(path, file_format=None, column=None, encoding="utf-8-sig")
        assert sum(1 for _ in stream) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_file_that_is_one_line_does_not_fill_the_memory(file):
    path = file("line.txt", "x" * (16 << 20))
    tracemalloc.start()
    try:
        stream = read_addresses(path, file_format=None, column=None, encoding="utf-8-sig")
        assert sum(1 for _ in stream) == 16
        assert tracemalloc.get_traced_memory()[1] < 6 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("people", "state"), [(PEOPLE[:2], "success"), ([], "skipped")])
def test_the_example_enrolls_the_file_it_is_given(example, file, meisa_sandbox, people, state):
    path = file("drop.csv.gz", "\n".join(["email", *people]))
    ran = example("file_drop", run_conf={"path": str(path)})
    assert ran.states == {"enroll": state, "report": state}
    assert addresses_sent(meisa_sandbox) == people
    if people:
        assert ran.xcom("report") == "2 of 2 enrolled, 0 not an address"
