"""Read the fields of a body, with the error messages of Django REST Framework (inferred)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_meisa.sandbox.outcomes import INVALID_EMAIL, is_email
from airflow_provider_meisa.sandbox.responses import RefusedError

LARGEST_BATCH = 500  # documented
SOURCES = ("api", "import", "manual", "signup", "initial_sync")  # documented
_SURROGATES = re.compile("[\ud800-\udfff]")
Check = Callable[[Any], Any]


class FieldError(ValueError):
    """A field's value is invalid; ``problem`` is the part of the response for that field."""

    def __init__(self, problem: list[str] | dict[str, list[str]]) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True)
class Field:
    """A field of a body.

    :param check: returns the cleaned value, or raises :class:`FieldError`.
    :param default: the value if the field is left out; a field without a default is required.
    """

    name: str
    check: Check
    default: Any = ...


def parse_object(content_type: str, body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a body (JSON: documented; the errors: inferred)."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RefusedError(415, {"detail": f'Unsupported media type "{content_type}" in request.'})
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, {"detail": f"JSON parse error - {error}"}) from error
    if not isinstance(value, dict):
        problem = f"Invalid data. Expected a dictionary, but got {type(value).__name__}."
        raise RefusedError(400, {"non_field_errors": [problem]})
    return value


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads although they are not JSON."""
    raise ValueError(f"Out of range float values are not JSON compliant: {name}")


def read_fields(sent: Mapping[str, Any], fields: tuple[Field, ...]) -> dict[str, Any]:
    """Return the cleaned value of each field, or refuse with the problems of all fields."""
    values: dict[str, Any] = {}
    problems: dict[str, Any] = {}
    for field in fields:
        try:
            values[field.name] = _read(sent, field)
        except FieldError as error:
            problems[field.name] = error.problem
    if problems:
        raise RefusedError(400, problems)
    return values


def _read(sent: Mapping[str, Any], field: Field) -> Any:
    if field.name not in sent:
        if field.default is ...:
            raise FieldError(["This field is required."])
        return field.default
    if sent[field.name] is None:
        raise FieldError(["This field may not be null."])
    return field.check(sent[field.name])


def any_text(value: Any) -> str:
    """Check that it is a string, which may be empty."""
    if not isinstance(value, str):
        raise FieldError(["Not a valid string."])
    if found := _SURROGATES.search(value):
        raise FieldError([f"Surrogate characters are not allowed: U+{ord(found[0]):X}."])
    return value.strip()


def text(value: Any) -> str:
    """Check that it is a string that is not blank."""
    if not (found := any_text(value)):
        raise FieldError(["This field may not be blank."])
    return found


def texts(value: Any) -> list[str]:
    """Check that it is a list of strings that are not blank."""
    if not isinstance(value, list):
        raise FieldError([f'Expected a list of items but got type "{type(value).__name__}".'])
    return [text(item) for item in value]


def source(value: Any) -> str:
    """Check that it is one of the documented sources of a contact."""
    if value not in SOURCES:
        raise FieldError([f'"{value}" is not a valid choice.'])
    return str(value)


def email(value: Any) -> str:
    """Check that it is a well-formed address."""
    address = text(value)
    if not is_email(address):
        raise FieldError([INVALID_EMAIL])
    return address


def emails(value: Any) -> list[str]:
    """Check that it is a list of 1 to 500 strings; malformed addresses are an outcome, not an error."""
    if not isinstance(value, list):
        raise FieldError([f'Expected a list of items but got type "{type(value).__name__}".'])
    if not value:
        raise FieldError(["This list may not be empty."])
    if len(value) > LARGEST_BATCH:
        raise FieldError([f"Ensure this field has no more than {LARGEST_BATCH} elements."])
    wrong = {
        str(place): ["Not a valid string."] for place, item in enumerate(value) if not isinstance(item, str)
    }
    if wrong:
        raise FieldError(wrong)
    return value


def dictionary(value: Any) -> dict[str, Any]:
    """Check that it is an object."""
    if not isinstance(value, dict):
        raise FieldError([f'Expected a dictionary of items but got type "{type(value).__name__}".'])
    return value


def boolean(value: Any) -> bool:
    """Check that it is true or false."""
    if not isinstance(value, bool):
        raise FieldError(["Must be a valid boolean."])
    return value
