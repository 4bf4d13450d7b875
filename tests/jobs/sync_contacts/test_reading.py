"""Rows of a source as contacts: what is sent of each, and which rows are not sent."""

import datetime as dt
import logging
import uuid
from decimal import Decimal

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.outcomes import Outcome
from airflow_provider_meisa.bulk.rows import Rows
from airflow_provider_meisa.jobs.sync_contacts.mapping import ContactMapping
from airflow_provider_meisa.jobs.sync_contacts.reading import ContactReader
from airflow_provider_meisa.jobs.sync_contacts.values import encode
from tests.support.names import named


def read(source, **mapping):
    return list(ContactReader(ContactMapping(**mapping)).read(source))


def test_a_row_becomes_what_is_sent():
    rows = Rows(
        ("user_id", "email", "name", "plan", "mrr", "since", "labels", "extra"),
        [(42.0, " Ada@Example.COM", "Ada", "team", Decimal("19.90"), dt.date(2026, 1, 2), "b, a", 1)],
    )
    assert read(
        [rows],
        fields={"email": "email", "external_id": "user_id", "first_name": "name"},
        custom_fields=["since", "plan", "mrr"],
        tags="labels",
    ) == [
        {
            "email": "Ada@example.com",
            "external_id": "42",
            "first_name": "Ada",
            "custom_fields": {"mrr": 19.9, "plan": "team", "since": "2026-01-02"},
            "tag_names": ["a", "b"],
        }
    ]


@pytest.mark.parametrize(
    ("nulls", "expected"),
    [
        ("send", {"first_name": "", "custom_fields": {"mrr": None, "plan": ""}}),
        ("omit", {"custom_fields": {"plan": ""}}),
    ],
)
def test_null_empties_a_field_or_leaves_it(nulls, expected):
    rows = Rows(
        ("email", "first_name", "plan", "mrr", "labels"),
        [("a@example.com", None, "", None, None)],
    )
    found = read([rows], custom_fields=["plan", "mrr"], tags="labels", nulls=nulls)
    assert found == [{"email": "a@example.com", **expected}]


def test_records_may_lack_keys():
    records = [
        {"email": "a@example.com", "plan": "team"},
        {"email": "b@example.com", "mrr": 1},
        {"EMAIL": "c@example.com"},
    ]
    found = read(records[:2], custom_fields=["plan", "mrr"])
    assert [each["custom_fields"] for each in found] == [
        {"mrr": None, "plan": "team"},
        {"mrr": 1, "plan": None},
    ]
    with pytest.raises(MeisaInputError, match="2 columns of the name 'Email'"):
        read(records, fields={"email": "Email"})


def test_a_column_that_only_later_records_have_is_read():
    records = [{"email": f"p{n}@example.com"} for n in range(2500)]
    records[2200]["plan"] = "team"
    found = read(records, custom_fields=["plan"])
    assert [each["custom_fields"]["plan"] for each in found if each["custom_fields"]["plan"]] == ["team"]


def test_a_column_that_no_record_has_stops_the_task():
    records = [{"email": f"p{n}@example.com", "plan": "x"} for n in range(2500)]
    with pytest.raises(MeisaInputError, match="no column 'plna'; it has: email, plan"):
        read(records, custom_fields=["plna"])


def test_the_order_of_columns_makes_no_difference():
    first = read([Rows(("email", "b", "a"), [("a@example.com", 1, 2)])], custom_fields=["b", "a"])
    second = read([{"a": 2.0, "b": Decimal(1), "email": "a@example.com"}], custom_fields=["a", "b"])
    assert encode(first[0]) == encode(second[0])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "mrr: NaN or Infinity"),
        ([1, float("inf")], "mrr: NaN or Infinity"),
        (b"secret", "mrr: a value of type bytes"),
        (memoryview(b"secret"), "mrr: a value of type memoryview"),
        ("sec\0ret", "mrr: a NUL character"),
        ({"secret": "\ud800"}, "mrr: half a surrogate pair"),
        ({"secret", "x"}, "mrr: a value of type set"),
    ],
    ids=named,
)
def test_what_json_cannot_hold_makes_the_row_invalid(value, reason):
    rows = Rows(("email", "mrr"), [("a@example.com", 1), ("b@example.com", value)])
    good, bad = read([rows], custom_fields=["mrr"])
    assert good["custom_fields"] == {"mrr": 1}
    assert bad == Outcome("b@example.com", "invalid", reason)
    assert "secret" not in repr(bad)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (42, "42"),
        (42.0, "42"),
        ("42", "42"),
        (Decimal("42.00"), "42"),
        (uuid.UUID(int=42), "00000000-0000-0000-0000-00000000002a"),
    ],
)
def test_record_ids_are_text(given, text):
    (contact,) = read([Rows(("email", "external_id"), [("a@example.com", given)])])
    assert contact["external_id"] == text


@pytest.mark.parametrize("given", [None, "", " ", 2.0**53, float("nan"), True])
def test_a_row_without_a_record_id_is_invalid(given):
    (outcome,) = read([Rows(("email", "external_id"), [("a@example.com", given)])])
    assert outcome.status == "invalid"
    assert outcome.reason.startswith("external_id: ")


def test_bad_addresses_are_invalid_rows():
    found = read([Rows(("email",), [(None,), ("",), ("broken",), ("a@example.com",)])])
    assert [getattr(each, "reason", None) for each in found] == ["no value (None)", "empty", "no @", None]


def test_csv_texts_are_converted_by_type():
    rows = Rows(
        ("email", "zip", "mrr", "seats", "active", "data"),
        [("a@example.com", "01067", "19.90", "3", "t", '{"b": 1, "a": 2}')],
    )
    (contact,) = read(
        [rows],
        custom_fields="*",
        types={"mrr": "number", "seats": "integer", "active": "boolean"},
        json_columns=["data"],
    )
    assert contact["custom_fields"] == {
        "active": True,
        "data": {"a": 2, "b": 1},
        "mrr": 19.9,
        "seats": 3,
        "zip": "01067",
    }


def test_types_apply_to_fields_and_tags_too():
    rows = Rows(("email", "external_id", "labels"), [("a@example.com", "042", '["a, b"]')])
    (contact,) = read([rows], types={"external_id": "integer"}, json_columns=["labels"], tags="labels")
    assert (contact["external_id"], contact["tag_names"]) == ("42", ["a, b"])


def test_fixed_tags_are_sent_with_each_contact():
    found = read([{"email": "a@example.com"}, {"email": "b@example.com"}], tags=["b", "a"])
    assert [each["tag_names"] for each in found] == [["a", "b"], ["a", "b"]]


def test_columns_mapped_to_nothing_are_logged_once(caplog):
    caplog.set_level(logging.INFO)
    rows = [Rows(("email", "plan", "ada@example.com"), [("a@example.com", 1, 2)])] * 3
    read(rows)
    assert [each.getMessage() for each in caplog.records] == [
        "Columns mapped to nothing, and not sent: …, plan"
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (["ada@example.com"], "a value of type str, not a record"),
        ([{"email": "a@example.com"}, ("b@example.com",)], "a value of type tuple, not a record"),
        ([Rows(("email",), []), Rows(("mail",), [])], "changed its columns"),
        ([Rows(("email",), []), {"email": "a@example.com"}], "changed its columns"),
        ([{"email": "a@example.com", 3: 1}], "a column whose name is not text"),
        ([{"mail": "a@example.com"}], "has no column 'email'"),
    ],
)
def test_another_shape_stops_the_task(source, message):
    with pytest.raises(MeisaInputError, match=message) as raised:
        read(source)
    assert "@example" not in str(raised.value)


def test_an_empty_source_has_no_contacts():
    assert read([]) == []
    assert read([Rows(("email",), [])]) == []
