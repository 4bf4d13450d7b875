"""An audience that is read once a run, and then from a copy: what gave it may give another on the next try."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_meisa.operators.audience import AudienceOperator
from airflow_provider_meisa.transfers.staged_copy import StagedCopy

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


@dataclass(frozen=True, slots=True)
class Rows:
    """What a copy holds: as many rows as it says, read anew each time.

    :param copy: where they are.
    :param count: how many.
    """

    copy: StagedCopy
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[object]:
        return self.copy.read()


class StagedAudienceOperator(AudienceOperator):
    """Enroll an audience whose source is asked once; every later leg and try of the run reads a copy.

    **The copy holds addresses in clear**, in a file of mode 0600 in a folder of mode 0700 where it is local. It is
    removed when everybody has a verdict, and a copy in the default folder at the latest when a week has passed.

    :param staging_path: the folder for the copy, a local path or an ``ObjectStoragePath`` URI (templated); by default
        a private one on the worker's own host. Workers on several hosts need one that they share.
    """

    template_fields: Sequence[str] = ("staging_path", *AudienceOperator.template_fields)

    source: ClassVar[str]
    """What the log calls what is asked."""

    def __init__(self, *, staging_path: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.staging_path = staging_path

    @abstractmethod
    def question(self) -> object:
        """Return what is asked, as it is rendered: a copy of the answer to another question counts for nothing."""

    @abstractmethod
    def ask(self, context: Context) -> Iterable[object]:
        """Return the addresses, as they come."""

    def read(self, context: Context) -> Rows:
        """Return the addresses: of the source at first, of its copy whenever the run reads again.

        :raises MeisaUnreachableError: if the copy cannot be written or read; and what `ask` raises.
        """
        copy, question = self._copy(context), self.question()
        rows = copy.rows_of(question)
        if rows is None:
            rows = copy.write(question, self.ask(context))
            self.log.info("The %s gave %s rows", self.source, f"{rows:,}")
        else:
            self.log.info(
                "Reading %s rows of the copy that this run has staged, not the %s", f"{rows:,}", self.source
            )
        return Rows(copy, rows)

    def finished(self, context: Context) -> None:
        """Remove the staged copy: every address has its verdict, and a further run shall ask anew.

        Call it once the enrollment is complete, after the checkpoint says so: without its copy a run that must
        resume would read what may have changed.
        """
        self._copy(context).drop()

    def _copy(self, context: Context) -> StagedCopy:
        ti = context["ti"]
        return StagedCopy(self.staging_path, (ti.dag_id, ti.run_id, ti.task_id, ti.map_index))
