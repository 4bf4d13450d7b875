"""The datasets for OpenLineage, if its provider is installed: source, sequence and number of contacts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.assets.sequences import NAMESPACE

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_meisa.api.outcomes import OutcomeStatus


class LineageMixin:
    """A task that fills a sequence or updates contacts, as OpenLineage's provider sees it.

    That provider calls the operator that has run after the last deferral, in the same process.
    """

    preview: bool
    summary: Mapping[str, Any] | None

    @abstractmethod
    def lineage_output(self) -> tuple[str, Sequence[OutcomeStatus]]:
        """Return the name of what the task updates, and which outcomes count as its rows."""

    def lineage_inputs(self) -> list[Dataset]:
        """Return the datasets of the addresses, if OpenLineage has names for them."""
        return []

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what the task updates as output, with the number of contacts that were accepted as its rows.

        Also called for a failed task. A preview has no output.
        """
        from airflow.providers.common.compat.openlineage.facet import (
            OutputDataset,
            OutputStatisticsOutputDatasetFacet,
        )
        from airflow.providers.openlineage.extractors import OperatorLineage

        name, accepted = self.lineage_output()
        output = OutputDataset(namespace=NAMESPACE, name=name)
        if self.summary:
            count = sum(self.summary["counts"][status] for status in accepted)
            output.outputFacets = {"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=count)}
        return OperatorLineage(inputs=self.lineage_inputs(), outputs=[] if self.preview else [output])
