"""JSON as others write it: NULL left out, names in another case, records on several lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.input_shapes import AddressReader
from airflow_provider_meisa.operators.sequences import MeisaBulkEnrollOperator
from airflow_provider_meisa.transfers.file_to_meisa import FileToMeisaSequenceOperator
from airflow_provider_meisa.transfers.sources.files import read_addresses
from tests.support.requests_sent import addresses_sent, writes

ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture
def file(tmp_path):
    def write(content, name="people.jsonl"):
        path = tmp_path / name
        path.write_text(content, "utf-8", newline="")
        return path

    return write


def read(path, column=None):
    return list(read_addresses(path, file_format=None, column=column, encoding="utf-8-sig"))


def in_lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


# Records with other keys: in a file, in an array, in memory.

SHAPES = {
    "first lacks it": ([{"id": 1}, {"id": 2, "email": ADA}], None, [None, ADA]),
    "first lacks it, with a name": ([{"id": 1, "x": 2}, {"email": ADA}], "email", [None, ADA]),
    "first ones are empty": ([{}, {}, {"email": ADA}], None, [None, None, ADA]),
    "only the last has it": ([{"id": n, "x": 1} for n in range(3000)] + [{"Mail": ADA}], "mail", None),
    "names in another case": ([{"Email": ADA}, {"email": BOB}, {"EMAIL": ADA}], None, [ADA, BOB, ADA]),
    "column in another case": ([{"mail": ADA}, {"MAIL ": BOB}, {"x": 1}], "Mail", [ADA, BOB, None]),
    "only name in another case": ([{"mail": ADA}, {"Mail": BOB}, {}], None, [ADA, BOB, None]),
    "exact name first": ([{"Email": BOB, "email": ADA}, {"Email": BOB}], None, [ADA, BOB]),
    "null is no address": ([{"email": None}, {"email": ADA}], None, [None, ADA]),
}


@pytest.mark.parametrize("form", ["lines", "array", "memory"])
@pytest.mark.parametrize("shape", SHAPES)
def test_records_with_other_keys_are_read(file, form, shape):
    records, column, expected = SHAPES[shape]
    expected = expected or [None] * 3000 + [ADA]
    if form == "memory":
        assert list(AddressReader(column).read(records)) == expected
    else:
        assert read(file(in_lines(records) if form == "lines" else json.dumps(records)), column) == expected


REFUSED = {
    "none has it": (
        [{"id": 1}, {"mail": ADA}],
        None,
        "has no column 'email' for email_column; it has: id, mail",
    ),
    "none has the one named": ([{"email": ADA}], "mail", "no column 'mail' for email_column; it has: email"),
    "none has a key": ([{}, {}], None, "no column 'email' for email_column; it has none"),
    "two alike": ([{"Email": ADA, "EMAIL": BOB}], None, "2 columns 'email' for email_column"),
    "two alike later": ([{"email": ADA}, {"Email": ADA, "eMail": BOB}], None, "2 columns 'email' for"),
    "no longer alone": (
        [{"mail": ADA}] * 1000 + [{"mail": ADA, "id": 1}],
        None,
        "other keys than the records",
    ),
    "a person as key": ([{ADA: 1}], None, "instead of names there is an address"),
}


@pytest.mark.parametrize("form", ["lines", "array", "memory"])
@pytest.mark.parametrize("shape", REFUSED)
def test_records_without_the_one_key_are_refused(file, form, shape):
    records, column, message = REFUSED[shape]
    path = file(in_lines(records) if form == "lines" else json.dumps(records))
    with pytest.raises(MeisaInputError, match=message) as caught:
        list(AddressReader(column).read(records)) if form == "memory" else read(path, column)
    assert "ada@" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ['{"email": "%s", "id": 1, "email": "%s"}', '[{"email": "%s", "email": "%s"}]']
)
def test_key_that_occurs_twice_is_refused(file, content):
    with pytest.raises(MeisaInputError, match="1: the key of the address occurs more than once"):
        read(file(content % (ADA, BOB)))


def test_another_key_may_occur_twice(file):
    assert read(file(f'{{"id": 1, "email": "{ADA}", "id": {{"a": 1, "a": 2}}}}\n')) == [ADA]


def test_left_out_nulls_are_invalid_rows(run_task, file, meisa_sandbox):
    path = file(in_lines([{"id": 1}, {"id": 2, "email": ADA}, {"id": 3}]))
    ran = run_task(FileToMeisaSequenceOperator, path=str(path), sequence_slug="onboarding")
    assert ran.state == "success"
    assert ran.counts() == {"enrolled": 1, "invalid": 2}
    assert addresses_sent(meisa_sandbox) == [ADA]


def test_file_without_the_key_sends_nothing(run_task, file, meisa_sandbox, everything_written):
    path = file(in_lines({"id": n, "contact": f"p{n}@example.com"} for n in range(2_000)))
    ran = run_task(FileToMeisaSequenceOperator, path=str(path), sequence_slug="onboarding")
    assert ran.state == "failed"
    assert writes(meisa_sandbox) == []
    assert "it has: id, contact." in everything_written()


def test_records_in_memory_without_the_key_send_nothing(run_task, meisa_sandbox, everything_written):
    records = [{"id": n, "contact": f"p{n}@example.com"} for n in range(2_000)]
    assert run_task(MeisaBulkEnrollOperator, emails=records, sequence_slug="onboarding").state == "failed"
    assert writes(meisa_sandbox) == []
    assert "it has: id, contact." in everything_written()


# Records on several lines.


@pytest.mark.parametrize("indent", [0, 1, 4, "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\n\n \n"])
@pytest.mark.parametrize("name", ["people.jsonl", "people.json", "people.ndjson"])
def test_indented_records_are_read(file, indent, ending, name):
    records = [
        {"id": n, "tags": ["a\u2028b\x85", {"x": []}], "email": f"p{n}@example.com"} for n in range(20)
    ]
    texts = (json.dumps(record, indent=indent, ensure_ascii=False) for record in records)
    content = "".join(text.replace("\n", "\r\n" if ending == "\r\n" else "\n") + ending for text in texts)
    assert read(file(content, name)) == [record["email"] for record in records]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(max_size=4), json_values, max_size=4), st.sampled_from([None, 0, 3])
        )
    )
)
def test_records_of_any_indentation_are_read(tmp_path_factory, records):
    path = tmp_path_factory.getbasetemp() / "people.jsonl"
    texts = (json.dumps({**record, "email": f"p{n}"}, indent=i) for n, (record, i) in enumerate(records))
    path.write_text("".join(text + "\n" for text in texts))
    assert read(path, "email") == [f"p{n}" for n in range(len(records))]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('{\n"email": "ada@example.com"\n}\n{\n"email": "Secret"\n', 4),
        ('{"email": "ada@example.com"\n{"email": "Secret"}\n', 1),
        ('{\n"email": "ada@example.com"\n} Secret\n', 1),
        ('{"email": "ada@example.com"} {"email": "Secret"}\n', 1),
        ('\n{\n"email": "ada@example.com"\n}\n\n{\n"email": Secret\n}\n', 6),
        ('{"email": "ada@example.com"},\n{"email": "Secret"}\n', 1),
    ],
)
def test_broken_record_is_named_by_the_line_it_begins_on(file, content, line):
    with pytest.raises(MeisaInputError, match=f"line {line}: not JSON") as caught:
        read(file(content))
    assert "Secret" not in str(caught.value)


def test_wrong_value_is_named_by_the_line_of_its_record(file):
    with pytest.raises(MeisaInputError, match="line 5: email_column holds a number"):
        read(file('{\n"email": "ada@example.com"\n}\n\n{\n"email": 7\n}\n'))


def test_record_without_an_end_is_refused_as_too_long(file):
    content = '{"email": "ada@example.com"}\n{\n' + '"a": [\n' * 3_000_000
    with pytest.raises(MeisaInputError, match="line 2: "):
        read(file(content))
