"""The extra of an asset event after an enrollment."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.assets.sequences import SCHEME

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset

log = logging.getLogger("airflow.task.meisa")

# Masked addresses: for people who fix the task, not for all readers of events.
_NOT_SET = ("attention", "attention_truncated")


def set_asset_extra(context: Any, outlets: Iterable[Any], summary: Mapping[str, Any], asset: Asset) -> None:
    """Put the summary of a run into the events of the task's outlets, which Airflow creates when it succeeds.

    An alias gets an event of the asset, before Airflow 3.2 without the counts. Call this after the last deferral,
    because the extra of an event does not survive one (tested with Airflow 3.3).

    :param outlets: the outlets of the task; assets of other services are not changed.
    :param summary: the summary, or the report of a preview.
    :param asset: the asset that the task updated.
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
    """Leave out values that Airflow cannot hash: it does so up to 3.1.0 (read in 2.11, 3.0 and 3.1)."""
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

    if AIRFLOW_V_3_2_PLUS:
        return extra
    return {name: value for name, value in extra.items() if not isinstance(value, dict | list)}
