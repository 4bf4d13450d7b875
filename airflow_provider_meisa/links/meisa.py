"""A link from a task to the Meisa dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

    from airflow_provider_meisa.hooks.meisa import MeisaHook

XCOM_KEY = "meisa_dashboard"


class MeisaSequenceLink(BaseOperatorLink):
    """Leads to the sequence in the Meisa dashboard; to the dashboard where ``dashboard_url`` has no ``{slug}``."""

    name = "Sequence in Meisa"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address the task left as it began; empty if it has not run. That it failed does no harm."""
        return XCom.get_value(key=XCOM_KEY, ti_key=ti_key) or ""


def push_dashboard_link(context: Any, hook: MeisaHook, slug: object = "") -> None:
    """Leave the dashboard's address where the link finds it, before the task does anything that can fail.

    Airflow 3 asks the link for it only when a process of the task ends, and keeps it as an XCom of its own:
    it is put there already, for a task that runs or is killed.

    :param slug: the sequence, not yet checked; empty if there are several.
    """
    address = hook.get_conn().settings.dashboard_link(str(slug or ""))
    context["ti"].xcom_push(key=XCOM_KEY, value=address)
    if airflows_key := getattr(MeisaSequenceLink(), "xcom_key", ""):  # Airflow 2.11 has none
        context["ti"].xcom_push(key=airflows_key, value=address)
