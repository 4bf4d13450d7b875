from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.redaction import mask_address, redact

ATEXT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~üñжあ"
dot_atoms = st.lists(st.text(ATEXT, min_size=1, max_size=12), min_size=1, max_size=3).map(".".join)
quoted = st.text('abc @.,;:<>()[]üж\\"', min_size=1, max_size=20).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
domains = st.lists(st.text("abcxyz019-üñжあ", min_size=1, max_size=12), min_size=2, max_size=4).map(".".join)
literals = st.sampled_from(["[192.0.2.1]", "[IPv6:2001:db8::1]"])


def distinctive(local: str) -> str:
    """Mark a local part, so that its remains can be found in the text around it."""
    return local.replace('"', '"Qq0', 1) + "9Zz" if not local.startswith('"') else f'"Qq0{local[1:-1]}9Zz"'


addresses = st.tuples((dot_atoms | quoted).map(distinctive), domains | literals).map("@".join)
around = st.text(st.characters(exclude_characters='Qq9Zz"\\'), max_size=30)
separators = st.sampled_from([" ", "\n", "<", ",", ";", ": ", "(", "\t"])


@given(before=around, after=around, address=addresses, separator=separators)
def test_no_address_passes_whatever_stands_around_it(before, after, address, separator):
    shown = redact(f"{before}{separator}{address}{separator.strip()} {after}")
    assert "Qq0" not in shown
    assert "9Zz" not in shown


@given(
    address=addresses,
    written=st.sampled_from(
        [
            "%40",
            "%2540",
            "%u0040",
            "&#64;",
            "&#64",
            "&#x40;",
            "&#X40",
            "&commat;",
            "&amp;#64;",
            "\\u0040",
            "\\x40",
            "\uff20",
        ]
    ),
    around=st.sampled_from(["", " ", "\n", "\u200b", " \u200b", "\u200b \u2060"]),
)
def test_no_address_passes_however_its_at_is_written(address, written, around):
    local, _, domain = address.rpartition("@")
    shown = redact(f"GET /contacts/?email={local}{around}{written}{around}{domain} refused")
    assert "Qq0" not in shown
    assert "9Zz" not in shown


@given(address=addresses)
def test_no_address_passes_in_percent_encoding(address):
    shown = redact(f"/contact-enrollments/?email={quote(address, safe='')}&page=2")
    assert "Qq0" not in shown
    assert "9Zz" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "jane.doe@acme.example",
        "mailto:jane.doe@acme.example?subject=x",
        "Bob <jane.doe@acme.example>",
        "['jane.doe@acme.example', 'jane.doe@acme.example']",
        '{"email": "jane.doe@acme.example"}',
        "jane.doe @ acme.example",
        "jane.doe(work)@acme.example",
        '"jane.doe at work"@acme.example',
        '\\"jane.doe at work\\"@acme.example',
        '"jane.doe@home office"@acme.example',
        "jane.doe%40acme.example",
        "jane.doe%2540acme.example",
        "jane.doe@[192.0.2.1]",
        "jane.doe@acme.example@acme.example",
        "JANE.DOE@ACME.EXAMPLE",
        "(jane.doe@acme.example)",
        'unfinished "jane.doe"@acme.example',
        'jane.doe"@acme.example',
        "jane.doe@\nacme.example",
        "jane.doe\n@\nacme.example",
        "jane.doe %40 acme.example",
        "jane.doe%20%40%20acme.example",
        "jane.doe\uff20acme.example",
        "jane.doe \uff20 acme.example",
        "jane.doe @ acme.example @",
        '"jane doe" @ acme.example',
        '"jane doe" @',
        "jane.doe @\u200b acme.example",
        "jane.doe \u200b@ acme.example",
        "jane\u200bdoe@ac\u00adme.example",
        "\x00".join("jane.doe@acme.example"),
        "jane.doe @ [IPv6:2001:db8::acme]",
        "jane.doe @ [192.0.2.1]",
        "jane.doe&#64acme.example",
        "jane.doe\\x40acme.example",
        "jane.doe%u0040acme.example",
        "%u0022jane doe%u0022%u0040acme.example",
        "jane.doe&nbsp;@&nbsp;acme.example",
        "jane.doe&amp;nbsp;&#64;&#xA0;acme.example",
        "jane.doe\\u00a0@\\x20acme.example",
    ],
)
def test_known_spellings_leave_nothing(text):
    shown = redact(text).lower()
    assert "<address>" in shown
    assert "jane" not in shown
    assert "doe" not in shown
    assert "acme" not in shown


def test_what_is_no_address_stays():
    assert redact("The address must contain an @ sign.") == "The address must contain an <address> sign."
    assert redact("Sequence  is\npaused") == "Sequence is paused"
    assert redact("'a@b.example': already enrolled") == "'<address>': already enrolled"
    assert redact("50% of 3 & more") == "50% of 3 & more"


@pytest.mark.parametrize("message", ["nothing before the @", "more than one @", "no @"])
def test_our_own_reasons_that_speak_of_the_at_stay_as_they_are(message):
    assert redact(message) == message
    assert redact(f"a@b.example has {message}") == f"<address> has {message}"
    assert redact(f"key meisa_live_abc123 has {message}") == f"key <key> has {message}"


def test_a_lone_at_does_not_bring_a_key_through():
    assert redact("meisa_live_abc123 @") == "<key> @"


def test_keys_are_taken_out():
    assert redact("key meisa_live_AbC-12_x is revoked") == "key <key> is revoked"
    assert redact("MEISA_TEST_abc") == "<key>"
    assert redact("meisa_\u200blive_ab\u200bc") == "<key>"


@given(st.text(st.characters(codec=None), max_size=400))
def test_what_is_shown_is_one_short_printable_line_and_stays_as_it_is(text):
    shown = redact(text)
    assert len(shown) <= 200
    assert shown.isprintable()
    assert "@" not in shown.removesuffix(" @")
    shown.encode()
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text", ["a" * 300_000, '"' * 300_000, '\\"' * 150_000, "a@" * 150_000, "( " * 150_000, "%40" * 90_000]
)
@pytest.mark.timeout(5)
def test_a_long_text_is_scrubbed_in_time(text):
    assert len(redact(text)) <= 200


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("jane.doe@acme.example", "j***@***.example"),
        ("j@acme.co.uk", "j***@***.uk"),
        ("żaneta@пример.рф", "ż***@***"),
        ("jane@localhost", "j***@***"),
        ("jane@acme.c0m", "j***@***"),
        ("\n@acme.com", "****@***.com"),
        ('"jane doe"@acme.com', "****@***.com"),
        ("@acme.com", "***"),
        ("jane", "***"),
        ("", "***"),
    ],
)
def test_a_mask_shows_the_first_letter_and_the_ending(address, masked):
    assert mask_address(address) == masked


@given(st.text(st.characters(codec=None), max_size=60))
def test_a_mask_of_anything_is_short_and_printable(text):
    masked = mask_address(text)
    assert len(masked) <= 40
    assert masked.isprintable()
