"""Values as JSON, each in one form only: the form decides what counts as a change."""

import datetime as dt
import enum
import json
import uuid
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.jobs.sync_contacts.values import (
    BadValueError,
    canonical,
    converter,
    encode,
    fix_column,
    parse_json,
    tags_of,
    text_of,
    text_of_id,
)
from tests.support.names import named

GOLDEN = Path(__file__).parents[2] / "data" / "contact_values_v1.json"
NAMES = {
    "Decimal": Decimal,
    "UUID": uuid.UUID,
    **{name: getattr(dt, name) for name in ("datetime", "date", "time", "timedelta", "timezone")},
}
VECTORS = json.loads(GOLDEN.read_text(encoding="utf-8"))


class Plan(enum.Enum):
    TEAM = "team"


class Level(enum.IntEnum):
    HIGH = 3


def sent(value):
    return encode({"v": canonical(value)})[5:-1].decode()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["value"])
def test_golden_values_have_the_same_bytes(vector):
    value = eval(vector["value"], dict(NAMES))
    if "refused" in vector:
        with pytest.raises(BadValueError) as raised:
            canonical(value)
        assert str(raised.value) == vector["refused"]
    else:
        assert sent(value) == vector["sent"]
        assert canonical(json.loads(vector["sent"])) == canonical(value)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["value"])
@pytest.mark.parametrize("others", [[], [None]], ids=["alone", "with NULL"])
def test_golden_values_have_the_same_bytes_in_a_column(vector, others):
    fixed, faults = fix_column([eval(vector["value"], dict(NAMES)), *others])
    assert faults.get(0) == vector.get("refused")
    assert encode(fixed[0]).decode() == vector.get("sent", "null")


UTC_ZONES = [None, dt.UTC, dt.timezone(dt.timedelta(), "Zulu"), ZoneInfo("UTC"), ZoneInfo("Etc/GMT")]
OTHER_ZONES = [dt.timezone(dt.timedelta(hours=-7)), ZoneInfo("Europe/London"), ZoneInfo("Africa/Abidjan")]


@given(st.lists(st.datetimes(timezones=st.sampled_from(UTC_ZONES)) | st.none(), max_size=5))
def test_times_in_utc_have_the_same_bytes_in_a_column(values):
    fixed, faults = fix_column(values)
    assert not faults
    assert [encode(value) for value in fixed] == [encode(canonical(value)) for value in values]
    assert msgspec.to_builtins(fixed) == [canonical(value) for value in values]


def alone(value):
    try:
        return encode(canonical(value))
    except BadValueError as error:
        return str(error)


def assert_same_bytes(values):
    """Compare the values of a column with each alone."""
    fixed, faults = fix_column(values)
    found = [faults.get(place) or encode(value) for place, value in enumerate(fixed)]
    assert found == [alone(value) for value in values]


FIRST = dt.datetime(2, 1, 1)  # noqa: DTZ001 (a bound takes no zone)
TIMES = st.datetimes(min_value=FIRST, timezones=st.sampled_from([*UTC_ZONES, *OTHER_ZONES]))


@given(st.lists(TIMES | st.dates() | st.decimals() | st.floats(), max_size=3))
def test_values_of_mixed_columns_have_the_same_bytes(values):
    assert_same_bytes(values)


@given(st.lists(st.decimals() | st.none(), max_size=4) | st.lists(st.floats() | st.none(), max_size=4))
def test_numbers_have_the_same_bytes_in_a_column(values):
    assert_same_bytes(values)


@given(st.lists(st.dates() | st.none(), max_size=4))
def test_dates_have_the_same_bytes_in_a_column(values):
    assert_same_bytes(values)


def test_a_whole_contact_has_the_same_bytes():
    item = {"email": "zoë@example.com", "custom_fields": {"a": canonical({"z": 1.0, "b": [Decimal("0.10")]})}}
    assert encode(item) == '{"email":"zoë@example.com","custom_fields":{"a":{"b":[0.1],"z":1}}}'.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Plan.TEAM, '"team"'),
        (Level.HIGH, "3"),
        (type("S", (str,), {})("x"), '"x"'),
        ([Plan.TEAM], '["team"]'),
    ],
)
def test_enumerations_and_subclasses_are_their_values(value, expected):
    assert sent(value) == expected


def test_values_of_dataframes_are_plain():
    np, pd, pa = (pytest.importorskip(name) for name in ("numpy", "pandas", "pyarrow"))
    values = [
        (pd.NaT, "null"),
        (pd.NA, "null"),
        (np.int64(3), "3"),
        (np.float64(2.0), "2"),
        (np.bool_(True), "true"),
        (np.datetime64("2026-01-01T10:00:00.000000001"), '"2026-01-01T10:00:00"'),
        (np.array([1, 2]), "[1,2]"),
        (pd.Timestamp("2026-01-01 10:00", tz="Europe/Berlin"), '"2026-01-01T09:00:00Z"'),
        (pd.Timedelta("1h"), '"P0DT3600S"'),
        (pa.scalar(Decimal("1.50")), "1.5"),
    ]
    assert [sent(value) for value, _ in values] == [expected for _, expected in values]


@pytest.mark.parametrize("depth", [39, 200])
def test_values_that_are_nested_too_deep_are_refused(depth):
    value = []
    for _ in range(depth):
        value = [value]
    if depth < 40:
        assert msgspec.json.decode(sent(value)) == value
    else:
        with pytest.raises(BadValueError, match="nested too deep"):
            canonical(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"b": 1.0, "a": "x"}', '{"a":"x","b":1}'),
        ("[19.90]", "[19.9]"),
        ("null", "null"),
        (None, "null"),
        ({"b": 1}, '{"b":1}'),
    ],
)
def test_json_columns_are_parsed(text, expected):
    assert encode({"v": parse_json(text)})[5:-1].decode() == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{'a': 1}", "not JSON"),
        ("[NaN]", "NaN or Infinity"),
        ('{"a": Infinity}', "NaN or Infinity"),
        ("[" * 200 + "]" * 200, "nested too deep"),
        ("[" * 100_000, "nested too deep"),
        ('"a\\u0000b"', "a NUL character"),
        ('"\\ud800"', "half a surrogate pair"),
        ("1" * 5000, "not JSON"),
        (b"{}", "a value of type bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_json_that_cannot_be_sent_is_refused(text, reason):
    with pytest.raises(BadValueError, match=reason):
        parse_json(text)


def test_ten_megabytes_of_json_are_one_value():
    assert len(parse_json(json.dumps({"a": "x" * 10_000_000}))["a"]) == 10_000_000


@pytest.mark.parametrize("value", [42, 42.0, "42", " 42\u200b", Decimal("42.00"), Level(3) + 39])
def test_one_id_has_one_text(value):
    assert text_of_id(value) == "42"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53 + 1, "9007199254740993"),
        (10**30, "1" + "0" * 30),
        (Decimal("4.50"), "4.5"),
        (4.5, "4.5"),
        ("042", "042"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (-0.0, "0"),
    ],
)
def test_an_id_keeps_all_its_digits(value, text):
    assert text_of_id(value) == text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        ("", "empty"),
        (" \u00a0", "empty"),
        (2.0**53, "not an exact id"),
        (float("nan"), "not an exact id"),
        (True, "type bool, which is not an id"),
        (b"42", "type bytes, which is not an id"),
        (dt.date(2026, 1, 1), "type date, which is not an id"),
        (["42"], "type list, which is not an id"),
        ("4\x002", "a NUL character"),
    ],
    ids=named,
)
def test_what_is_not_an_id_is_refused(value, reason):
    with pytest.raises(BadValueError, match=reason):
        text_of_id(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, None), ("", ""), ("Ada", "Ada"), (3, "3"), (2.50, "2.5"), (2**70, str(2**70))],
)
def test_fields_of_text_take_numbers_as_text(value, text):
    assert text_of(value) == text


@pytest.mark.parametrize("value", [True, ["Ada"], {"de": "Ada"}])
def test_fields_of_text_refuse_what_is_not_text(value):
    with pytest.raises(BadValueError, match="not text"):
        text_of(value)


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        (None, None),
        ("", []),
        (" b , a,,a", ["a", "b"]),
        (["x, y", " ", "a", None, 3], ["3", "a", "x, y"]),
        ((), []),
    ],
)
def test_tags_are_trimmed_sorted_and_unique(value, tags):
    assert tags_of(value) == tags


@pytest.mark.parametrize("value", [3, {"a": 1}, [["a"]], [True]])
def test_what_is_not_tags_is_refused(value):
    with pytest.raises(BadValueError):
        tags_of(value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("number", " 19.90 ", 19.9),
        ("number", "1e3", 1000),
        ("number", "", None),
        ("number", Decimal("2.0"), 2),
        ("integer", "+7", 7),
        ("integer", 7.0, 7),
        ("integer", None, None),
        ("boolean", "t", True),
        ("boolean", "F", False),
        ("boolean", 0, False),
        ("boolean", True, True),
        ("boolean", "", None),
        ("text", 7, "7"),
        ("text", 2**70, str(2**70)),
        ("text", True, "true"),
        ("text", "", ""),
    ],
)
def test_types_convert_text(kind, value, expected):
    converted = converter(kind)(value)
    assert (type(converted), converted) == (type(expected), expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number", "1,5"),
        ("number", "1_000"),
        ("number", "nan"),
        ("number", True),
        ("number", "1e999"),
        ("integer", "1.5"),
        ("integer", 1.5),
        ("integer", "1" * 500),
        ("boolean", "maybe"),
        ("boolean", 2),
        ("boolean", [1]),
        ("text", {}),
    ],
    ids=named,
)
def test_types_refuse_what_they_cannot_convert(kind, value):
    with pytest.raises(BadValueError) as raised:
        converter(kind)(value)
    assert str(value)[:20] not in str(raised.value) or not isinstance(value, str)


@pytest.mark.parametrize(
    "values",
    [
        ["a", None, "Zoë"],
        ["a", "b\0", "\ud800"],
        [1, 2.0, Decimal("3.00"), None],
        [True, None],
        [None, None],
        [19.9, float("nan")],
        [{"b": 1, "a": 2}, b""],
        [],
    ],
    ids=named,
)
def test_a_column_is_fixed_value_by_value(values):
    def one_by_one(value):
        try:
            return canonical(value), ""
        except BadValueError as error:
            return None, str(error)

    fixed, faults = fix_column(values)
    assert [(value, faults.get(place, "")) for place, value in enumerate(fixed)] == list(
        map(one_by_one, values)
    )


def test_batches_of_other_types_give_the_same_values():
    in_ints, in_floats, in_decimals = ([1, 2], [1.0, 2.0], [Decimal("1.0"), Decimal(2)])
    fixed = [list(fix_column(column)[0]) for column in (in_ints, in_floats, in_decimals)]
    assert {encode({"v": column}) for column in fixed} == {b'{"v":[1,2]}'}
