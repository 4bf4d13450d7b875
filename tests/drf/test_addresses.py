"""What our check of addresses accepts, Django accepts, but for letters beyond ASCII before the ``@``."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_meisa.api.outcomes import Outcome
from airflow_provider_meisa.jobs.addresses import check

LOCAL = st.text("ab1-_.+'%!#$&*/=?^`{|}~é·ñ中0\u3000\u3002\uff0e\uff41\u200e\u201c", min_size=1, max_size=6)
DOMAIN = st.text("ab1-.é中xn0·", min_size=1, max_size=6)
TOPS = [
    "com",
    "c",
    "c1",
    "xn--p1ai",
    "co-op",
    "-a",
    "a-",
    "中",
    "中国",
    ".com",
    "1",
    "рф",
    "museum",
    "\u200f",
]


def django_accepts(address: str) -> bool:
    """Return whether Django takes this for an address."""
    try:
        validate_email(address)
    except ValidationError:
        return False
    return True


@given(LOCAL, DOMAIN, st.sampled_from(TOPS))
def test_our_check_agrees_with_django(local: str, domain: str, top: str):
    raw = f"{local}@{domain}.{top}"
    found = check(raw)
    if isinstance(found, Outcome):
        assert not django_accepts(raw)
    elif found.rpartition("@")[0].isascii():
        assert django_accepts(found)


def test_letters_beyond_ascii_before_the_at_are_the_only_difference():
    assert check("josé@example.com") == "josé@example.com"
    assert not django_accepts("josé@example.com")
