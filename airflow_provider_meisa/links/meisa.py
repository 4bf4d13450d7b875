"""A link from a task to the Meisa dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

    from airflow_provider_meisa.hooks.meisa import MeisaHook

XCOM_KEY = "meisa_dashboard"


class MeisaSequenceLink(BaseOperatorLink):
    """Links to the sequence in the Meisa dashboard, or to the dashboard if ``dashboard_url`` has no ``{slug}``."""

    name = "Sequence in Meisa"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL that the task pushed at its start, also if it failed later; empty if it has not run."""
        return XCom.get_value(key=XCOM_KEY, ti_key=ti_key) or ""


def push_no_link(context: Any) -> None:
    """Push an empty URL, by which the page *Meisa* finds a task that has no link."""
    context["ti"].xcom_push(key=XCOM_KEY, value="")


def push_dashboard_link(context: Any, hook: MeisaHook, slug: object = "") -> None:
    """Push the URL of the dashboard for the link, before the task does anything that can fail.

    Airflow 3 calls the link only when a process of the task ends, and keeps the URL as an XCom. So the XCom is
    pushed here, for tasks that still run or were killed.

    :param slug: the sequence, not yet checked; empty if there are several.
    """
    address = hook.get_conn().settings.dashboard_link(str(slug or ""))
    context["ti"].xcom_push(key=XCOM_KEY, value=address)
    if airflows_key := getattr(MeisaSequenceLink(), "xcom_key", ""):  # Airflow 2.11 has none
        context["ti"].xcom_push(key=airflows_key, value=address)
