"""Paths on this machine, and in any store that Airflow's ObjectStoragePath supports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.input_shapes import EDGES

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.location import Location

_LOCAL = "file:///"


class PathField:
    """An operator's attribute that holds a path as text, because Airflow renders templates only in texts."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, operator: Any, owner: type | None = None) -> Any:
        return self if operator is None else operator.__dict__[self._name]

    def __set__(self, operator: Any, value: Any) -> None:
        text = path_as_text(value)
        operator.__dict__.setdefault(_template(self._name), text)
        operator.__dict__[self._name] = text


def template_of(operator: Any, name: str) -> Any:
    """Return what a `PathField` was set to first: before its template is rendered."""
    return operator.__dict__.get(_template(name))


def _template(name: str) -> str:
    return f"_{name}_template"


def path_as_text(value: Any) -> Any:
    """Return the text of a ``pathlib.Path`` or an ``ObjectStoragePath``, and any other value unchanged."""
    if hasattr(value, "as_uri"):  # both have it, and their text is what `locate` reads
        return str(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def bare_path(value: str | os.PathLike[str]) -> str:
    """Return the text of a path without blanks at its ends, which templates may leave."""
    text: str = path_as_text(value)
    return text.strip(EDGES)


def locate(path: str | os.PathLike[str], conn_id: str | None = None) -> Location:
    """Return the location of a path or a URI, without blanks at its ends.

    :param path: a local path, or a URI such as ``s3://bucket/folder/file.csv``, also as an object;
        ``s3://conn_id@bucket/…`` names the Airflow Connection as well.
    :param conn_id: the Airflow Connection of the store.
    :raises MeisaInputError: if it is empty, or no installed package supports its scheme.
    """
    uri = bare_path(path)
    if not uri:
        raise MeisaInputError("A path is empty; give a local path or a URI.")
    if uri.startswith(_LOCAL):
        return Path(uri[len(_LOCAL) - 1 :])
    if "://" not in uri:
        return Path(uri)
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        place: Location = ObjectStoragePath(uri, conn_id=conn_id)
        place.fs  # type: ignore[attr-defined]  # noqa: B018 (made here, so that a missing package is reported here)
    except (ValueError, ImportError) as error:
        raise MeisaInputError(f"{uri.partition('://')[0]}:// cannot be reached: {error}") from error
    return place
