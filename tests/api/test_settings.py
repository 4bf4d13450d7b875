from __future__ import annotations

import re

import pytest

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.rate_limit.limits import DEFAULT_LIMITS, Limit
from airflow_provider_meisa.api.settings import DEFAULT_BASE_URL, Settings, base_url_of, is_loopback

KEY = "meisa_live_TopSecret9"


def read(*, host="", port=None, schema="", password=KEY, **extra):
    return Settings.from_connection(host=host, port=port, schema=schema, password=password, extra=extra)


def test_a_connection_with_only_a_key_means_meisa_itself():
    settings = read()
    assert settings == Settings(api_key=KEY)
    assert settings.base_url == DEFAULT_BASE_URL == "https://api.meisa.io/api/v1"
    assert settings.limits == DEFAULT_LIMITS
    assert settings.timeout == 30
    assert not settings.allow_override_unsubscribe


@pytest.mark.parametrize("password", ["", "   ", "\n", None])
def test_an_empty_key_is_refused(password):
    with pytest.raises(MeisaInputError, match=r"API key field \(password\)"):
        read(password=password)


@pytest.mark.parametrize(
    "key", [f"{KEY}\nX-Admin: 1", f"{KEY} 2", f"{KEY}\t", f"{KEY}é", f"{KEY}\u2028", f"{KEY}\x7f"]
)
def test_a_key_that_would_break_the_header_is_refused_and_not_shown(key):
    with pytest.raises(MeisaInputError, match="copy it again") as caught:
        Settings(api_key=key)
    assert "TopSecret" not in str(caught.value)


def test_white_space_around_a_pasted_key_falls_off():
    assert read(password=f" {KEY}\n").api_key == KEY


@pytest.mark.parametrize(
    ("host", "port", "schema", "base_url"),
    [
        ("", None, "", DEFAULT_BASE_URL),
        ("  ", None, "", DEFAULT_BASE_URL),
        ("meisa.example", None, "", "https://meisa.example/api/v1"),
        ("meisa.example/", None, "", "https://meisa.example/api/v1"),
        ("meisa.example", 8443, "", "https://meisa.example:8443/api/v1"),
        ("meisa.example:9000", 8443, "", "https://meisa.example:9000/api/v1"),
        ("https://meisa.example", None, "", "https://meisa.example/api/v1"),
        ("https://meisa.example/", None, "http", "https://meisa.example/api/v1"),
        ("https://meisa.example/eu/v2/", None, "", "https://meisa.example/eu/v2"),
        ("https://meisa.example", 8443, "", "https://meisa.example:8443/api/v1"),
        ("localhost", 8000, "http", "http://localhost:8000/api/v1"),
        ("localhost", 8000, " HTTP ", "http://localhost:8000/api/v1"),
        ("http://[::1]", 8000, "", "http://[::1]:8000/api/v1"),
        ("[::1]:8000", None, "http", "http://[::1]:8000/api/v1"),
    ],
)
def test_host_port_and_schema_make_a_base_url(host, port, schema, base_url):
    assert base_url_of(host, port, schema) == base_url
    assert read(host=host, port=port, schema=schema).base_url == base_url


@pytest.mark.parametrize(
    "host",
    [
        "https://",
        "https:///api/v1",
        "ftp://meisa.example",
        "://meisa.example",
        "https://meisa.example:port",
        "https://meisa.example:99999",
        "https://[::1",
        "https://meisa\x1b[31m.example",
        "[meisa.example",
        "::1",
    ],
)
def test_what_is_no_base_url_is_refused(host):
    with pytest.raises(MeisaInputError, match=r"Base URL \(host field\) must be a URL"):
        read(host=host)


@pytest.mark.parametrize("host", ["", "api.meisa.io", "https://api.meisa.io"])
@pytest.mark.parametrize("schema", ["api/v2", "ftp", KEY])
def test_a_path_that_landed_in_the_schema_field_is_refused_with_what_to_write(host, schema):
    with pytest.raises(MeisaInputError, match=r"write .*https%3A%2F%2Fapi\.meisa\.io%2Fapi%2Fv1") as caught:
        read(host=host, schema=schema)
    assert KEY not in str(caught.value)


def test_a_base_url_given_as_it_is_is_checked_as_well():
    with pytest.raises(MeisaInputError, match=r"Base URL \(host field\) must be a URL"):
        Settings(api_key=KEY, base_url="https://[::1")


@pytest.mark.parametrize(
    "host",
    [
        "https://ada@meisa.example",
        "https://ada:pass-word@meisa.example",
        f"https://:{KEY}@meisa.example",
        "https://meisa.example/api/v1?key=pass-word",
        "https://meisa.example/api/v1#pass-word",
        r"https://api.meisa.io\@elsewhere.example",
    ],
)
def test_a_base_url_with_a_user_a_password_or_a_query_is_refused_and_not_shown(host):
    with pytest.raises(MeisaInputError, match="no user, password, query or fragment") as caught:
        read(host=host)
    assert "pass-word" not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("host", ["http://api.meisa.io", "http://10.0.0.7:8000", "http://localhost.example"])
def test_plain_http_to_another_machine_is_refused_unless_allowed(host):
    with pytest.raises(MeisaInputError, match="unencrypted"):
        read(host=host)
    assert read(host=host, allow_http=True).base_url.startswith(host)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "meisa.localhost", "127.0.0.1", "127.8.9.10", "[::1]"]
)
def test_plain_http_to_this_machine_is_fine(host):
    assert read(host=f"http://{host}:8000").base_url == f"http://{host}:8000/api/v1"


@pytest.mark.parametrize(
    ("host", "is_this_machine"),
    [("::1", True), ("127.0.0.1", True), ("localhost", True), ("8.8.8.8", False), ("localhost.io", False)],
)
def test_loopback_is_known_by_name_and_number(host, is_this_machine):
    assert is_loopback(host) is is_this_machine


@pytest.mark.parametrize("timeout", ["0", "-1", "3601", "nan", "inf", 0])
def test_a_timeout_out_of_range_is_refused(timeout):
    with pytest.raises(MeisaInputError, match="timeout must be more than 0"):
        read(timeout=timeout)


@pytest.mark.parametrize("timeout", ["soon", "30s", True, [3]])
def test_a_timeout_that_is_no_number_is_refused(timeout):
    with pytest.raises(MeisaInputError, match="extra timeout must be a number of seconds"):
        read(timeout=timeout)


@pytest.mark.parametrize(("timeout", "seconds"), [("", 30), (None, 30), (" 2.5 ", 2.5), (7, 7)])
def test_a_timeout_is_read_from_text_and_numbers(timeout, seconds):
    assert read(timeout=timeout).timeout == seconds


def test_an_environment_is_live_test_or_empty():
    assert [read(environment=name).environment for name in ("", " LIVE ", "test")] == ["", "live", "test"]
    with pytest.raises(MeisaInputError, match="environment must be"):
        read(environment="staging")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *((written, True) for written in (True, "true", " True ")),
        *((written, False) for written in (False, "false", "FALSE", "", None)),
    ],
)
def test_flags_are_read_from_text_and_json(written, meant):
    settings = read(allow_override_unsubscribe=written, allow_http=written)
    assert settings.allow_override_unsubscribe is meant
    assert settings.allow_http is meant


@pytest.mark.parametrize("name", ["allow_override_unsubscribe", "allow_http"])
def test_a_flag_that_is_neither_is_refused_by_its_name(name):
    with pytest.raises(MeisaInputError, match=f"{name} must be true or false"):
        read(**{name: "maybe"})


def test_rate_limits_are_read_shortest_window_first():
    assert read(rate_limits="1000/hour, 60/minute").limits == (Limit(60, 60), Limit(1000, 3600))
    assert read(rate_limits=" ").limits == DEFAULT_LIMITS


@pytest.mark.parametrize("text", ["fast", "0/minute", "60", "60/fortnight"])
def test_bad_rate_limits_are_refused(text):
    with pytest.raises(MeisaInputError, match="60/minute"):
        read(rate_limits=text)


def test_repr_shows_neither_the_key_nor_the_password_of_the_store():
    settings = read(rate_limit_storage="redis://:store-pass@localhost")
    assert settings.rate_limit_storage == "redis://:store-pass@localhost"
    assert KEY not in repr(settings)
    assert "store-pass" not in repr(settings)


def test_a_dashboard_link_has_the_slug_where_the_address_says():
    assert read().dashboard_link("onboarding") == "https://app.meisa.io"
    linked = read(dashboard_url="https://app.meisa.io/sequences/{slug}/")
    assert linked.dashboard_link("onboarding") == "https://app.meisa.io/sequences/onboarding/"


@pytest.mark.parametrize("slug", ["../../logout", "a?b=c#d", "a b", '"><script>', "a\nb", "\ud800"])
def test_a_slug_stays_in_its_place_in_the_dashboards_address(slug):
    link = read(dashboard_url="https://app.meisa.io/s/{slug}/edit").dashboard_link(slug)
    assert re.fullmatch(r"https://app\.meisa\.io/s/[\w.%-]+/edit", link)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "app.meisa.io",
        "//app.meisa.io",
        "https://",
        "http://[",
        "https://a\nb",
    ],
)
def test_a_dashboard_that_is_no_web_address_is_refused(url):
    with pytest.raises(MeisaInputError, match="dashboard_url must be a web address"):
        read(dashboard_url=url)
