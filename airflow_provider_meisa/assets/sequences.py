"""The assets of sequences and of contact syncs: made, checked, and named for OpenLineage.

They are ``meisa://sequences/<slug>`` and ``meisa://contacts/<sync_name>``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.common.compat.sdk import Asset

SCHEME = "meisa"
NAMESPACE = SCHEME
"""OpenLineage's: without a host, as its naming rules for services with one host, such as BigQuery."""

_PLACE = "sequences"
_CONTACTS = "contacts"


def meisa_sequence(sequence_slug: str) -> Asset:
    """Return the asset of a sequence, for ``outlets``, ``inlets`` and a DAG's ``schedule``.

    :param sequence_slug: the slug, not a template: Airflow reads assets when it parses the DAG.
    :raises ValueError: if it is empty or a template.
    """
    from airflow.providers.common.compat.sdk import Asset

    return Asset(uri=uri_of(sequence_slug))


def meisa_contacts(sync_name: str) -> Asset:
    """Return the asset of the contacts that a sync keeps in step, for ``outlets``, ``inlets`` and ``schedule``.

    :param sync_name: the name itself, no template: Airflow reads assets when it parses the DAG.
    :raises ValueError: if it is empty or a template.
    """
    from airflow.providers.common.compat.sdk import Asset

    return Asset(uri=uri_of(sync_name, _CONTACTS))


def uri_of(slug: str, place: str = _PLACE) -> str:
    """Return the URI of an asset, by default of a sequence's.

    :raises ValueError: if the slug is not a text, is empty, or is a template.
    """
    given: object = slug
    if not isinstance(given, str):
        kind = type(given).__name__
        raise ValueError(f"The slug is of type {kind}; give one slug as a text.")  # noqa: TRY004 (as the others here)
    if not slug or slug != slug.strip():
        raise ValueError(
            f"The slug {slug!r} is empty or has white space around it: copy it from the Meisa dashboard."
        )
    if "{{" in slug or "{%" in slug:
        raise ValueError(
            f"The slug {slug!r} is a template, but Airflow reads assets when it parses the DAG: give the slug "
            "itself, or give the task an AssetAlias as its outlet."
        )
    return f"{SCHEME}://{place}/{quote(slug, safe='')}"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Check the URI of an asset and return `meisa_sequence`'s spelling of it, so that a sequence is one asset.

    Airflow calls it for every asset with the scheme ``meisa`` (``asset-uris`` in ``get_provider_info``).

    :raises ValueError: if it names neither.
    """
    place, slug = uri.netloc.lower(), unquote(uri.path.removeprefix("/"))
    if place not in (_PLACE, _CONTACTS) or not slug or "/" in uri.path.removeprefix("/") or uri.query:
        raise ValueError(
            f"{uri.geturl()!r} is not an asset of Meisa. Write meisa_sequence('<slug>') or "
            f"'{SCHEME}://{_PLACE}/<slug>', such as '{SCHEME}://{_PLACE}/onboarding'."
        )
    return urlsplit(uri_of(slug, place))


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:  # noqa: ARG001 (its caller's form)
    """Return OpenLineage's dataset of the asset; OpenLineage's provider calls this."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = urlsplit(asset.uri)
    name = f"{uri.netloc}/{unquote(uri.path.removeprefix('/'))}"
    return Dataset(namespace=NAMESPACE, name=name)


def lineage_name(slug: str, place: str = _PLACE) -> str:
    """Return the name of a sequence in OpenLineage, or of what else a place holds."""
    return f"{place}/{slug}"
