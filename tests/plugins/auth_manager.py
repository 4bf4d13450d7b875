"""An auth manager whose users do not all see the same."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

HIDDEN = "hidden"  # what of a DAG's or connection's id keeps it from a clerk


class AuthManager(SimpleAuthManager):
    """Airflow's simple one, with a user who may read some DAGs and connections and not others."""

    def is_authorized_dag(self, *, details: Any = None, user: Any, **asked: Any) -> bool:
        if user.get_id() == "clerk":
            return not (details and details.id and HIDDEN in details.id)
        return user.get_id() != "nobody" and super().is_authorized_dag(details=details, user=user, **asked)

    def is_authorized_connection(self, *, details: Any = None, user: Any, **asked: Any) -> bool:
        if user.get_id() == "clerk":
            return not (details and details.conn_id and HIDDEN in details.conn_id)
        return super().is_authorized_connection(details=details, user=user, **asked)
