"""Template fields that Airflow renders but never shows: addresses stay out of the UI and the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sized
from typing import Any

from airflow_provider_meisa.api.privacy import scrub


class Private:
    """A value that Airflow can render, and that tells only its size.

    Airflow renders the fields that ``template_fields`` names, and writes ``str()`` of the object into the
    serialized DAG and the rendered fields (read in Airflow 2.11 and 3.3).

    :param value: a template, or what became of it.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    @property
    def template_fields(self) -> Collection[str]:
        """Name what there is to render: nothing, if no template is inside.

        Otherwise Jinja would compile every address, and run what a warehouse row holds as a template.
        """
        return ("value",) if _has_template(self.value) else ()

    def __str__(self) -> str:
        match self.value:
            case str() if _has_template(self.value):
                return scrub(self.value)
            case str():
                return "1 hidden value"
            case Mapping():
                return f"{len(self.value):,} hidden fields"
            case Sized():
                return f"{len(self.value):,} hidden values"
            case _:
                return "hidden"

    __repr__ = __str__


class PrivateField:
    """An operator's attribute that is always `Private`, but for a reference to another task's XCom.

    Airflow finds a task's upstream in such references, so they stay as they are until they are resolved.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, operator: Any, owner: type | None = None) -> Any:
        return self if operator is None else operator.__dict__[self._name]

    def __set__(self, operator: Any, value: Any) -> None:
        plain = value is None or isinstance(value, Private) or hasattr(value, "iter_references")
        operator.__dict__[self._name] = value if plain else Private(value)


def revealed(value: Any) -> Any:
    """Return what is inside a `Private`."""
    return value.value if isinstance(value, Private) else value


def _has_template(value: Any) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(_has_template(item) for item in value.values())
    if isinstance(value, list | tuple | set):
        return any(_has_template(item) for item in value)
    return hasattr(value, "iter_references")
