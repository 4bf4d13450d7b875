"""What a task that has filled a sequence puts into the event of its asset."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.assets.sequences import SCHEME

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset

log = logging.getLogger("airflow.task.meisa")

# Masked addresses: for those who fix the task, not for all who read events.
_NOT_SET = ("attention", "attention_truncated")


def set_asset_extra(context: Any, outlets: Iterable[Any], summary: Mapping[str, Any], asset: Asset) -> None:
    """Put the account of a run into the events that Airflow makes for the task's outlets once it succeeds.

    An alias gets an event of the asset; before Airflow 3.2 without the counts. Call it after the last deferral:
    what is put into an event does not survive a deferral (tried on Airflow 3.3).

    :param outlets: of the task; those that have nothing to do with Meisa stay as they are.
    :param summary: the summary, or what a preview has found.
    :param asset: what the task has updated.
    """
    from airflow.providers.common.compat.sdk import AssetAlias

    extra = {name: value for name, value in summary.items() if name not in _NOT_SET}
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            context["outlet_events"][outlet].add(asset, extra=_for_alias(extra))
        elif (uri := getattr(outlet, "uri", "")) == asset.uri:
            context["outlet_events"][outlet].extra.update(extra)
        elif uri.startswith(f"{SCHEME}://"):
            log.warning("The outlet %s is not what the task has updated: its event has no counts.", uri)


def _for_alias(extra: dict[str, Any]) -> dict[str, Any]:
    """Leave out what Airflow could not take: up to 3.1.0 it hashes the values (read in 2.11, 3.0 and 3.1)."""
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

    if AIRFLOW_V_3_2_PLUS:
        return extra
    return {name: value for name, value in extra.items() if not isinstance(value, dict | list)}
