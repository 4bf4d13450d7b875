"""What an extra is read as, and which ones are refused, without Airflow."""

from __future__ import annotations

import json

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.extras import GUARDS, KNOWN, Extras, decode_extra, read_extras

SECRET = "hunter2-of-the-extra"


def refused(read, *arguments):
    """Return the message that refuses something; it holds no value."""
    with pytest.raises(MeisaInputError) as raised:
        read(*arguments)
    assert SECRET not in str(raised.value)
    return str(raised.value)


def test_known_extras_are_those_that_are_read():
    assert tuple(name for name in Extras.__slots__ if name != "unknown") == KNOWN


@pytest.mark.parametrize("raw", [None, "", "  \n", "null", "{}", '""', '"{}"', {}])
def test_an_empty_extra_has_no_fields(raw):
    assert decode_extra(raw) == {}


@pytest.mark.parametrize("wrap", [dict, json.dumps, lambda fields: json.dumps(json.dumps(fields))])
def test_json_and_json_of_json_are_decoded(wrap):
    fields = {"environment": "test", "timeout": 5}
    assert decode_extra(wrap(fields)) == fields


@pytest.mark.parametrize(
    "raw",
    [
        f"environment=test {SECRET}",
        f"{{'environment': 'test', 'note': '{SECRET}'}}",
        f'{{"environment": "test", "note": "{SECRET}"',
        f'{{"environment": "test"}} {SECRET}',
        f"environment: test\nnote: {SECRET}",
        "[" * 100_000,
        json.dumps(f"environment {SECRET}"),
    ],
    ids=["words", "a Python dict", "cut", "a tail", "YAML", "deep", "text in JSON"],
)
def test_an_extra_that_is_not_json_is_refused(raw):
    assert "The extra is not JSON" in refused(decode_extra, raw)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ('[{"environment": "test"}]', "a list"),
        ("7", "a number"),
        ("1.5", "a number"),
        ("true", "a boolean"),
        ("[]", "a list"),
        (json.dumps(json.dumps(json.dumps({"environment": "test"}))), "text"),
        (b"{}", "another type"),
        (["environment", "test"], "a list"),
    ],
)
def test_json_that_is_not_an_object_is_refused(raw, kind):
    assert f"The extra is JSON, but {kind} instead of an object" in refused(decode_extra, raw)


@pytest.mark.parametrize(
    "raw",
    [
        '{"environment": "test", "environment": "live"}',
        '{"environment": "test", "timeout": 5, "environment": ""}',
        json.dumps('{"environment": "test", "environment": "test"}'),
    ],
)
def test_a_name_that_occurs_twice_is_refused(raw):
    assert "has the name 'environment' twice" in refused(decode_extra, raw)


def test_a_key_that_occurs_twice_as_a_name_is_not_shown():
    message = refused(decode_extra, '{"meisa_live_abc1": 1, "meisa_live_abc1": 2}')
    assert "meisa_live_abc1" not in message


@pytest.mark.parametrize(
    ("name", "guard"),
    [
        ("enviroment", "environment"),
        ("Environment", "environment"),
        ("ENVIRONMENT", "environment"),
        (" environment", "environment"),
        ("env", "environment"),
        ("enviro", "environment"),
        ("environnement", "environment"),
        ("key_environment", "environment"),
        ("meisaEnvironment", "environment"),
        ("environment_", "environment"),
        ("environment2", "environment"),
        ("environm\u0435nt", "environment"),
        ("extra__http__environment", "environment"),
        ("extra__meisa__enviroment", "environment"),
        ("test_mode", "environment"),
        ("isLive", "environment"),
        ("rate limits", "rate_limits"),
        ("ratelimit", "rate_limits"),
        ("rate-limits", "rate_limits"),
        ("RateLimits", "rate_limits"),
        ("limit", "rate_limits"),
        ("raet_limits", "rate_limits"),
        ("ratelimitstorage", "rate_limit_storage"),
        ("rate_limit_stroage", "rate_limit_storage"),
        ("redis_url", "rate_limit_storage"),
        ("quota_store_", "rate_limit_storage"),
        ("allow_override_unsubscribed", "allow_override_unsubscribe"),
        ("allowoverideunsubscribe", "allow_override_unsubscribe"),
        ("override", "allow_override_unsubscribe"),
        ("allow_https", "allow_http"),
        ("allowHttp", "allow_http"),
    ],
)
def test_a_name_that_may_stand_for_a_guard_is_refused(name, guard):
    assert f"the nearest one is {guard}." in refused(read_extras, {name: SECRET})


@pytest.mark.parametrize(
    "fields",
    [
        {"stufe": "test"},
        {"wohin": " LIVE "},
        {"meisa": {"environment": "test"}},
        {"settings": {"deep": [{"enviroment": SECRET}]}},
        {"options": json.dumps({"rate_limits": SECRET})},
        {"any": {"of": {"these": "live"}}},
    ],
)
def test_a_value_that_holds_a_guard_is_refused(fields):
    assert "is not known; the nearest one is" in refused(read_extras, fields)


@pytest.mark.parametrize("name", ["extra", "Extra", "__extra__", "extras"])
@pytest.mark.parametrize("inner", [{"environment": "test"}, '{"environment": "test"}', [SECRET], SECRET])
def test_a_nested_extra_is_refused(name, inner):
    assert "holds another one" in refused(read_extras, {name: inner})


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("api_key", "API key field (password)"),
        ("apiKey", "API key field (password)"),
        ("X-API-Key", "API key field (password)"),
        ("password", "API key field (password)"),
        ("meisa_api_key", "API key field (password)"),
        ("base_url", "Base URL field (host)"),
        ("host", "Base URL field (host)"),
        ("endpoint", "Base URL field (host)"),
        ("port", "port field"),
    ],
)
def test_what_belongs_in_a_field_is_refused(name, field):
    assert f"belongs in the connection's {field}:" in refused(read_extras, {name: SECRET})


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"owner": "crm"}, ("'owner'",)),
        ({"timout": 5}, ("'timout' (did you mean timeout?)",)),
        ({"Dashboard-URL": "x"}, ("'Dashboard-URL' (did you mean dashboard_url?)",)),
        ({"note": {"team": ["growth"]}, "latest": 1}, ("'note'", "'latest'")),
        ({SECRET: "x"}, ("(a name that is not shown)",)),
        ({"meisa_live_abc": ""}, ()),
        ({"ada@example.com": 1}, ("(a name that is not shown)",)),
        ({"meisa_live_abc": "x"}, None),
    ],
)
def test_other_unknown_names_are_kept_for_a_warning(fields, shown):
    if shown is None:  # its word "live" makes it a guard, and it is not shown there either
        assert "meisa_live_abc" not in refused(read_extras, fields)
    else:
        assert read_extras(fields).unknown == shown


def test_empty_values_mean_not_given():
    empty = dict(zip(KNOWN, ["", None, " ", None, "", "", None], strict=True))
    assert read_extras({**empty, "enviroment": "", "extra": None, "extra__meisa__timeout": ""}) == Extras()


def test_prefixed_names_of_old_forms_are_read():
    old = {"extra__meisa__environment": "test", "extra__meisa__timeout": 7, "extra__meisa__allow_http": True}
    assert read_extras(old) == Extras(environment="test", timeout=7, allow_http=True)
    assert (
        read_extras({**old, "environment": "test", "extra__meisa__rate_limit_storage": ""}).environment
        == "test"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"environment": "live", "extra__meisa__environment": "test"},
        {"extra__meisa__timeout": 5, "timeout": 6},
        {"allow_http": False, "extra__meisa__allow_http": 0},
    ],
)
def test_a_prefixed_name_that_differs_is_refused(fields):
    assert "an older name of it" in refused(read_extras, fields)


WRONG = [
    *(("timeout", value) for value in ("soon", "30s", SECRET, True, [30], {"seconds": 30}, "1,5")),
    *(("environment", value) for value in (["test"], {"name": "test"}, True, 1)),
    *(("rate_limits", value) for value in (["60/minute"], {"minute": 60}, 60, False)),
    *(("allow_http", value) for value in (0, 1, "yes", "on", "1", "no", [True], SECRET)),
    *(("allow_override_unsubscribe", value) for value in ("True!", 1.0, {"value": True}, "truthy")),
    *(("rate_limit_storage", value) for value in (True, ["memory"], {"url": SECRET})),
    *(("dashboard_url", value) for value in (5, ["https://app.meisa.io"])),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda value: str(value)[:30])
def test_a_value_of_the_wrong_type_is_refused(name, value):
    assert refused(read_extras, {name: value}).startswith(f"The extra {name} must be ")


def test_text_of_a_uri_is_read():
    text = {
        "timeout": "2.5",
        "allow_http": "true",
        "allow_override_unsubscribe": "False",
        "environment": "TEST",
    }
    assert read_extras(text) == Extras(timeout=2.5, allow_http=True, environment="test")


def test_guards_are_known():
    assert set(KNOWN) > GUARDS
