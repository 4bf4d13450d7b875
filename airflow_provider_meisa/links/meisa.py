"""A link from a task to the Meisa dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

    from airflow_provider_meisa.hooks.meisa import MeisaHook

XCOM_KEY = "meisa_dashboard"


class MeisaSequenceLink(BaseOperatorLink):
    """Leads to the Meisa dashboard, or to the sequence in it if the connection's ``dashboard_url`` has ``{slug}``."""

    name = "Meisa dashboard"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address the task has left for us; empty if it has not run."""
        return XCom.get_value(key=XCOM_KEY, ti_key=ti_key) or ""


def leave_link(context: Any, hook: MeisaHook, slug: str = "") -> None:
    """Leave the dashboard's address where the link finds it, before the task does anything that can fail.

    :param slug: the sequence; empty if there are several.
    """
    context["ti"].xcom_push(key=XCOM_KEY, value=hook.get_conn().settings.dashboard_link(slug))
