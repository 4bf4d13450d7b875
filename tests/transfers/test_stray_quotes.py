"""CSV and TSV in which a quote or a delimiter stands where none should: no row is lost in silence."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator
from tests.support.files import read_file
from tests.support.requests_sent import writes


@pytest.fixture
def refused(enroll_file, meisa_sandbox, everything_written):
    """Run a task that must fail before its first request; return what was written."""

    def run(path, **arguments):
        ran = enroll_file(path, **arguments)
        assert ran.state == "failed"
        assert writes(meisa_sandbox) == []
        written = everything_written()
        assert "@example.com" not in written
        assert "Secret" not in written
        return written

    return run


def read_or_refusal(path):
    try:
        return read_file(path), ""
    except MeisaInputError as error:
        return [], str(error)


def enrolled(sandbox):
    return len(sandbox.enrollments("onboarding"))


def rows(count, delimiter=",", order=("id", "name", "email")):
    """Return the lines of a table: a header, and so many people."""
    people = ({"id": n, "name": f"Secret {n}", "email": f"p{n}@example.com"} for n in range(count))
    return [delimiter.join(order), *(delimiter.join(str(one[name]) for name in order) for one in people)]


def with_quotes(lines, delimiter, *places):
    """Put a stray quote before, or behind, cells: of a line, a column, an edge."""
    lines = list(lines)
    for line, column, edge in places:
        cells = lines[line].split(delimiter)
        cells[column] = '"' + cells[column] if edge == "before" else cells[column] + '"'
        lines[line] = delimiter.join(cells)
    return "\n".join(lines) + "\n"


def test_tsv_with_stray_quotes_loses_no_row(enroll_file, file, meisa_sandbox):
    content = with_quotes(rows(600, "\t"), "\t", (101, 1, "before"), (490, 1, "behind"))
    assert enroll_file(file("people.tsv", content), max_invalid=0).state == "success"
    assert enrolled(meisa_sandbox) == 600


@pytest.mark.parametrize("delimiter", [",", ";", "|"])
def test_csv_with_stray_quotes_sends_nothing(refused, file, delimiter):
    content = with_quotes(rows(1_600, delimiter), delimiter, (1_100, 1, "before"), (1_490, 1, "behind"))
    written = refused(file("people.csv", content), max_invalid=0)
    assert "line 1,101: the quote that opens here is not closed within 10 lines" in written
    assert "set quoting to 'none'" in written


@pytest.mark.parametrize("order", [("id", "name", "email"), ("email", "id", "name"), ("name", "email", "id")])
@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize("swallowed", [1, 2, 9])
def test_stray_quotes_of_a_few_rows_are_found(file, order, column, swallowed):
    content = with_quotes(
        rows(40, order=order), ",", (7, column, "before"), (7 + swallowed, column, "behind")
    )
    with pytest.raises(MeisaInputError, match=r"line 8: the quote that opens here takes in") as caught:
        read_file(file("people.csv", content))
    assert "@" not in str(caught.value)
    assert len(read_file(file("people.csv", content), quoting="none")) == 40


def test_stray_quotes_in_a_single_column_are_found(file):
    lines = ["email", *(f"p{n}@example.com" for n in range(20))]
    with pytest.raises(MeisaInputError, match="line 4: the quote that opens here takes in"):
        read_file(file("people.csv", with_quotes(lines, ",", (3, 0, "before"), (5, 0, "behind"))))


def test_stray_quotes_around_rows_without_addresses_are_found(file):
    lines = ["id,name,city,country,plan,email", *(f"{n},Secret,London,UK,free," for n in range(9))]
    with pytest.raises(MeisaInputError, match="line 3: the quote that opens here takes in"):
        read_file(file("people.csv", with_quotes(lines, ",", (2, 1, "before"), (3, 1, "behind"))))


@pytest.mark.parametrize(
    ("places", "line"),
    [
        ([(3, 1, "before")], 4),
        ([(38, 1, "before")], 39),
        ([(40, 2, "before")], 41),
        ([(3, 1, "before"), (6, 1, "before")], 4),
        ([(3, 1, "before"), (6, 2, "behind")], 4),
        ([(0, 1, "before"), (3, 1, "behind")], 1),
        ([(0, 2, "before")], 1),
    ],
)
def test_quote_that_is_not_closed_is_named(refused, file, places, line):
    content = with_quotes(rows(40), ",", *places)
    assert f"people.csv, line {line}: the quote that opens here" in refused(file("people.csv", content))


def test_stray_quotes_around_rows_with_names_are_found(file):
    lines = ["id,note,email", *(f"{n},x,Secret <p{n}@example.com>" for n in range(9))]
    with pytest.raises(MeisaInputError, match="line 3: the quote that opens here takes in"):
        read_file(file("people.csv", with_quotes(lines, ",", (2, 1, "before"), (3, 1, "behind"))))


def test_quote_in_a_file_without_header_is_named(file):
    lines = rows(40)[1:]
    with pytest.raises(MeisaInputError, match="line 1: the quote that opens here takes in"):
        read_file(file("people.csv", with_quotes(lines, ",", (0, 1, "before"), (2, 1, "behind"))), column=2)


def test_quote_behind_another_cell_with_line_breaks_is_named(file):
    content = 'id,note,name,email\n1,"a\nb\nc","Secret,p1@example.com\n2,d,Secret",p2@example.com\n'
    with pytest.raises(MeisaInputError, match="line 4: the quote that opens here takes in"):
        read_file(file("people.csv", content))


LEGITIMATE = [
    "12 Main St, Springfield\nIL, 62704",
    "12 Main St,\r\nSpringfield",
    "Dr. Ada\nSt James's Square 12\nLondon SW1\nUnited Kingdom",
    'She said ""hello"", twice\nand left',
    "\n",
    "Ask ada@other.example\nabout it; then call\n",
    "\n".join(["a line"] * 11),
]


@pytest.mark.parametrize("cell", LEGITIMATE)
@pytest.mark.parametrize("order", [("id", "note", "email"), ("email", "note", "id"), ("note", "id", "email")])
def test_cell_with_a_few_line_breaks_is_read(file, cell, order):
    lines = [",".join(order)]
    for n in range(9):
        one = {"id": str(n), "note": f'"{cell}"', "email": f"p{n}@example.com"}
        lines.append(",".join(one[name] for name in order))
    assert read_file(file("people.csv", "\r\n".join(lines))) == [f"p{n}@example.com" for n in range(9)]


def test_address_block_is_enrolled(enroll_file, file, meisa_sandbox):
    content = 'name,address,email\n"Lovelace, Ada","12 St James\'s Square\nLondon",ada@example.com\n'
    assert enroll_file(file("people.csv", content), max_invalid=0).state == "success"
    assert enrolled(meisa_sandbox) == 1


def test_cell_with_more_line_breaks_needs_multiline(refused, file):
    note = "\n".join(["a line"] * 12)
    path = file("people.csv", f'note,email\n"{note}",p1@example.com\nx,p2@example.com\n')
    assert "line 2: the quote that opens here is not closed within 10 lines" in refused(path)
    assert read_file(path, quoting="multiline") == ["p1@example.com", "p2@example.com"]


def test_address_that_spans_lines_stops_also_multiline(file):
    path = file("people.csv", 'email,id\n"p1@example.com\np2@example.com",1\n')
    for quoting in (None, "standard", "multiline"):
        with pytest.raises(MeisaInputError, match="line 2: the quote that opens here takes in"):
            read_file(path, quoting=quoting)


def test_line_break_at_the_end_of_an_address_is_trimmed(enroll_file, file, meisa_sandbox):
    assert (
        enroll_file(file("people.csv", 'id,email\n1,"p1@example.com\n"\n2,p2@example.com\n')).state
        == "success"
    )
    assert enrolled(meisa_sandbox) == 2


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("id,email\n1,p1@example.com\n2\n", 3),
        ("id,email\n1,Secret,p1@example.com\n", 2),
        ('id,note,email\n1,"a\nb"\n2,x,p2@example.com\n', 2),
        ("id,email,\n1,p1@example.com\n", 2),
    ],
)
def test_row_of_another_width_sends_nothing(refused, file, content, line):
    assert f"line {line}: " in refused(file("people.csv", content))


def test_tsv_in_quotes_names_the_parameter(file, refused):
    quoted = '"id"\t"email"\n"1"\t"p1@example.com"\n'
    assert "line 1: the cell is in quotes; set quoting to 'standard'" in refused(file("people.tsv", quoted))
    assert read_file(file("people.tsv", quoted), quoting="standard") == ["p1@example.com"]
    half = 'id\temail\n1\t"p1@example.com"\n'
    with pytest.raises(MeisaInputError, match="line 2: the cell is in quotes"):
        read_file(file("people.tsv", half))
    broken = 'id\tnote\temail\n1\t"a\nb"\tp1@example.com\n'
    with pytest.raises(MeisaInputError, match="if quotes enclose cells, set quoting to 'standard'"):
        read_file(file("people.tsv", broken))
    assert read_file(file("people.tsv", broken), quoting="standard") == ["p1@example.com"]


# What separates the cells.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("people.csv", "id;email\n1;p1@example.com\n"),
        ("people.csv", "id|email|note\n1|p1@example.com|a, b\n"),
        ("people.csv", "id\temail\n1\tp1@example.com\n"),
        ("people.csv", 'sep=;\nid;"name, first";email\n1;x;p1@example.com\n'),
        ("people.csv", "sep=|\r\nid|email\r\n1|p1@example.com\r\n"),
        ("people.csv", '"sep=;"\r\n\r\nemail\r\np1@example.com\r\n'),
        ("people.csv", "\ufeffsep=\t\nid\temail\n1\tp1@example.com\n"),
        ("people.csv", "name, first;email;city, country\nx;p1@example.com;y\n"),
        ("people.csv", "\n\nid;email\n1;p1@example.com\n"),
    ],
)
def test_delimiter_is_recognised(enroll_file, file, meisa_sandbox, name, content):
    assert enroll_file(file(name, content), max_invalid=0).state == "success"
    assert enrolled(meisa_sandbox) == 1


def test_delimiter_is_recognised_without_a_header(file):
    path = file("people.csv", "1;Lovelace, Ada;p1@example.com\n2;Hopper, Grace;p2@example.com\n")
    assert read_file(path, column=2) == ["p1@example.com", "p2@example.com"]


@pytest.mark.parametrize("delimiter", ["~", "^", ":", "\x1f", "\t"])
def test_delimiter_may_be_given(enroll_file, file, meisa_sandbox, delimiter):
    path = file("people.csv", f"id{delimiter}email\n1{delimiter}p1@example.com\n")
    assert enroll_file(path, delimiter=delimiter).state == "success"
    assert enrolled(meisa_sandbox) == 1


@pytest.mark.parametrize(
    ("name", "content", "arguments", "message"),
    [
        ("people.tsv", "id,email\n1,p1@example.com\n", {}, "line 1: commas where tabs should separate"),
        ("people.tsv", "id;email\n1;p1@example.com\n", {}, "semicolons where tabs should separate the cells"),
        ("people.csv", "id;email\n1;p1@example.com\n", {"delimiter": "|"}, "semicolons where pipes should"),
        ("people.csv", "id;name|mail\n1;x|p1@example.com\n", {}, "set delimiter"),
        (
            "people.csv",
            "id|mail\n1|p1@example.com\n",
            {"delimiter": ";", "email_column": "mail"},
            "set delimiter",
        ),
    ],
)
def test_wrong_delimiter_names_the_parameter(refused, file, name, content, arguments, message):
    assert message in refused(file(name, content), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delimiter": "||"}, "delimiter must be one character"),
        ({"delimiter": ""}, "delimiter must be one character"),
        ({"delimiter": '"'}, "delimiter must be one character"),
        ({"delimiter": 7}, "delimiter must be one character"),
        ({"quoting": "all"}, "quoting must be one of: standard, multiline, none"),
        ({"quoting": csv.QUOTE_NONE}, "quoting must be one of: standard, multiline, none"),
        ({"quoting": True}, "quoting must be one of: standard, multiline, none"),
        ({"format": "lines", "delimiter": ","}, "delimiter and quoting are for the formats csv and tsv"),
        ({"format": "jsonl", "quoting": "none"}, "delimiter and quoting are for the formats csv and tsv"),
    ],
)
def test_parameter_that_cannot_be_used_is_refused(refused, file, arguments, message):
    assert message in refused(file("people.csv", "id,email\n1,p1@example.com\n"), **arguments)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_any_stray_quotes_lose_no_row(tmp_path, seed, count):
    """Whatever quotes are put into cells: every address is read, or the file is refused."""
    chance = random.Random(seed)
    order = chance.choice([("id", "name", "email"), ("email", "name", "id"), ("name", "email", "id")])
    places = [
        (chance.randrange(31), chance.randrange(3), chance.choice(["before", "behind"])) for _ in range(count)
    ]
    path = tmp_path / "people.csv"
    path.write_text(with_quotes(rows(30, order=order), ",", *places))
    found, refusal = read_or_refusal(path)
    assert len(found) == (0 if refusal else 30)
    assert "@" not in refusal


texts = st.text(st.sampled_from('ab ,;"\n'), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(texts, texts), max_size=8))
def test_what_a_writer_quotes_is_read_or_refused(tmp_path, notes):
    target = io.StringIO()
    writer = csv.writer(target)
    writer.writerow(["first", "email", "second"])
    writer.writerows([one, f"p{n}@example.com", two] for n, (one, two) in enumerate(notes))
    path = tmp_path / "people.csv"
    path.write_text(target.getvalue(), newline="")
    expected = [f"p{n}@example.com" for n in range(len(notes))]
    assert read_file(path, quoting="multiline") == expected
    found, refusal = read_or_refusal(path)
    assert found == expected or "takes in what looks like other rows" in refusal


class Changing(FileToMeisaSequenceOperator):
    """A task whose file is changed after it was checked."""

    def read(self, context):
        source = super().read(context)
        path = Path(self.path)
        path.write_text(path.read_text() + with_quotes(rows(9)[1:], ",", (1, 1, "before"), (4, 1, "behind")))
        return source


def test_quote_written_after_the_check_fails_the_task(run_task, file, meisa_sandbox, everything_written):
    path = file("people.csv", "\n".join(rows(1_200)) + "\n")
    assert run_task(Changing, path=str(path), sequence_slug="onboarding").state == "failed"
    assert enrolled(meisa_sandbox) < 1_200
    assert "line 1,203: the quote that opens here takes in" in everything_written()
