"""Where a file lies: on this machine, or in any store that Airflow's ObjectStoragePath reaches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_meisa.api.errors import MeisaInputError

if TYPE_CHECKING:
    from airflow_provider_meisa.bulk.outcome_file import Location

_LOCAL = "file:///"


def locate(uri: str, conn_id: str | None = None) -> Location:
    """Return the place that a path or a URI names.

    :param uri: a local path, or a URI such as ``s3://bucket/folder/file.csv``; ``s3://conn_id@bucket/…`` names the
        Airflow Connection too.
    :param conn_id: the Airflow Connection to reach a URI by.
    :raises MeisaInputError: if it is empty, or of a kind that nothing installed can reach.
    """
    if not uri:
        raise MeisaInputError("A path is empty; give a local path or a URI.")
    if uri.startswith(_LOCAL):
        return Path(uri[len(_LOCAL) - 1 :])
    if "://" not in uri:
        return Path(uri)
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        place: Location = ObjectStoragePath(uri, conn_id=conn_id)
        place.fs  # type: ignore[attr-defined]  # noqa: B018 (made here, so that what is missing is said here)
    except (ValueError, ImportError) as error:
        raise MeisaInputError(f"{uri.partition('://')[0]}:// cannot be reached: {error}") from error
    return place
