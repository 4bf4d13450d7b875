"""List the Airflow connections of the type Meisa."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from airflow.models.connection import Connection
from airflow.providers.common.compat.sdk import AirflowException
from airflow.secrets.environment_variables import CONN_ENV_PREFIX, EnvironmentVariablesBackend
from sqlalchemy import select

from airflow_provider_meisa.hooks.meisa import MeisaHook

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


def offered(session: Session) -> list[str]:
    """List the connections of the type Meisa in Airflow's database and in the API server's environment.

    A secrets backend cannot be listed, so only ``meisa_default`` is read from it.
    """
    stored = session.scalars(select(Connection.conn_id).where(Connection.conn_type == MeisaHook.conn_type))
    found = {*stored, *filter(_is_meisa_in_environment, _names_in_environment())}
    default = MeisaHook.default_conn_name
    return sorted(found | ({default} if default not in found and is_meisa(default) else set()))


def is_meisa(conn_id: str) -> bool:
    """Return whether the connection exists and has the type Meisa: another type's password is not an API key."""
    try:
        return MeisaHook.get_connection(conn_id).conn_type == MeisaHook.conn_type
    except (AirflowException, ValueError) as error:
        log.debug("The connection cannot be read: %s", type(error).__name__)
        return False


def _names_in_environment() -> set[str]:
    return {
        name.removeprefix(CONN_ENV_PREFIX).lower() for name in os.environ if name.startswith(CONN_ENV_PREFIX)
    }


def _is_meisa_in_environment(conn_id: str) -> bool:
    # Only the environment is read: a secrets backend would need a network request for each name.
    try:
        connection = EnvironmentVariablesBackend().get_connection(conn_id)
    except (AirflowException, ValueError) as error:
        log.debug("A connection in the environment cannot be read: %s", type(error).__name__)
        return False
    return connection is not None and connection.conn_type == MeisaHook.conn_type
