"""Permissions, from Airflow's auth manager, checked as Airflow's own pages check them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import (
    ConnectionDetails,
    DagAccessEntity,
    DagDetails,
)
from airflow.models.connection import Connection
from airflow.models.dag import DagModel

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

_RESULTS = (DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)


def may_read_results(dag_id: str | None, user: BaseUser) -> bool:
    """Return whether the user may read a DAG's task instances and their XComs.

    :param dag_id: the DAG; ``None`` for any DAG at all.
    """
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id) if dag_id else None)
    manager = get_auth_manager()
    return all(
        manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user)
        for entity in _RESULTS
    )


def readable_dags(user: BaseUser) -> set[str]:
    """Return the ids of the DAGs that the user may read."""
    return get_auth_manager().get_authorized_dag_ids(user=user, method="GET")


def may_read_connection(conn_id: str, user: BaseUser) -> bool:
    """Return whether the user may read a connection."""
    details = ConnectionDetails(conn_id=conn_id, team_name=Connection.get_team_name(conn_id))
    return get_auth_manager().is_authorized_connection(method="GET", details=details, user=user)


def connection_check(user: BaseUser) -> Callable[[str], bool]:
    """Return a function that returns whether the user may read a connection, and checks each connection once."""
    return cache(lambda conn_id: may_read_connection(conn_id, user))
