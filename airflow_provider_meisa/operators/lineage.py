"""The datasets for OpenLineage, if its provider is installed: source, sequence and number of contacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.outcomes import OutcomeStatus
from airflow_provider_meisa.assets.sequences import NAMESPACE, lineage_name

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage


class LineageMixin:
    """A task that fills a sequence, for OpenLineage's provider.

    That provider calls the operator that has run after the last deferral, in the same process.
    """

    sequence_slug: str
    preview: bool
    summary: Mapping[str, Any] | None

    def lineage_inputs(self) -> list[Dataset]:
        """Return the datasets of the addresses, if OpenLineage has names for them."""
        return []

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return the sequence as output, with the number of contacts that were enrolled as its rows.

        Also called for a failed task. A preview has no output.
        """
        from airflow.providers.common.compat.openlineage.facet import (
            OutputDataset,
            OutputStatisticsOutputDatasetFacet,
        )
        from airflow.providers.openlineage.extractors import OperatorLineage

        output = OutputDataset(namespace=NAMESPACE, name=lineage_name(self.sequence_slug))
        if self.summary:
            rows = OutputStatisticsOutputDatasetFacet(rowCount=self.summary["counts"][OutcomeStatus.ENROLLED])
            output.outputFacets = {"outputStatistics": rows}
        return OperatorLineage(inputs=self.lineage_inputs(), outputs=[] if self.preview else [output])
