"""Template fields that Airflow renders but never shows, to keep addresses out of the UI and the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sized
from typing import Any

from airflow.providers.common.compat.sdk import XComArg

from airflow_provider_meisa.api.nouns import Noun, count
from airflow_provider_meisa.api.redaction import redact

FIELDS = Noun("hidden field", "hidden fields")
VALUES = Noun("hidden value", "hidden values")


class Redacted:
    """A value that Airflow can render, but that shows only its size.

    Airflow renders the fields that ``template_fields`` names, and writes ``str()`` of the object into the
    serialized DAG and the rendered fields (read in Airflow 2.11 and 3.3).

    :param value: a template, or the rendered value.
    :param noun: the noun for its items.
    """

    def __init__(self, value: Any, noun: Noun = VALUES) -> None:
        self.value = value
        self.noun = noun

    @property
    def template_fields(self) -> Collection[str]:
        """Return the fields to render: none, if there is no template inside.

        Otherwise Jinja would compile every address, and run text from a warehouse row as a template.
        """
        return ("value",) if _has_template(self.value) else ()

    def __str__(self) -> str:
        match self.value:
            case str() if _has_template(self.value):
                return redact(self.value)
            case str() if self.value.lstrip().startswith(("[", "(")):
                return f"{self.noun.many} in a text"
            case str():
                return f"1 {self.noun.one}"
            case Mapping():
                return count(len(self.value), FIELDS)
            case Sized():
                return count(len(self.value), self.noun)
            case _:
                return "hidden"

    __repr__ = __str__


class RedactedField:
    """An operator's attribute that is always `Redacted`, except for a reference to another task's XCom.

    Airflow finds upstream tasks by such references, so they are not changed until they are resolved.

    :param noun: the noun for its items; Airflow shows ``12,431 addresses``.
    """

    def __init__(self, noun: Noun = VALUES) -> None:
        self._noun = noun

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, operator: Any, owner: type | None = None) -> Any:
        return self if operator is None else operator.__dict__[self._name]

    def __set__(self, operator: Any, value: Any) -> None:
        plain = value is None or isinstance(value, Redacted) or hasattr(value, "iter_references")
        operator.__dict__[self._name] = value if plain else Redacted(value, self._noun)


def unwrap(value: Any) -> Any:
    """Return the value inside a `Redacted`."""
    return value.value if isinstance(value, Redacted) else value


def follow_references(operator: Any, *values: Any) -> None:
    """Make an operator downstream of every task whose output its redacted values refer to.

    Airflow searches for such references in the fields themselves, not inside redacted values.
    """
    if not getattr(operator, "_BaseOperator__from_mapped", False):
        XComArg.apply_upstream_relationship(operator, [unwrap(value) for value in values])


def _has_template(value: Any) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(_has_template(item) for item in value.values())
    if isinstance(value, list | tuple | set):
        return any(_has_template(item) for item in value)
    return hasattr(value, "iter_references")
