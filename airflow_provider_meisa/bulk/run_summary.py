"""The summary of a run for XCom, from its checkpoint, its counts, its plan and its ledger."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.outcomes import build_summary
from airflow_provider_meisa.bulk.run_ledger import summary_of_ended_run

if TYPE_CHECKING:
    from airflow_provider_meisa.api.client import MeisaClient
    from airflow_provider_meisa.api.errors import MeisaError
    from airflow_provider_meisa.api.outcomes import OutcomeCounter
    from airflow_provider_meisa.bulk.checkpoint import Checkpoint
    from airflow_provider_meisa.bulk.job import Job
    from airflow_provider_meisa.bulk.options import RunOptions
    from airflow_provider_meisa.bulk.preparation import Preparation
    from airflow_provider_meisa.bulk.run_ledger import RunLedger


def summary_of_run(
    job: Job,
    options: RunOptions,
    client: MeisaClient,
    preparation: Preparation,
    *,
    now: Checkpoint,
    counter: OutcomeCounter,
    complete: bool,
    stopped_by: MeisaError | None,
) -> dict[str, object]:
    """Make the summary of a run.

    :param now: the progress of the run.
    :param counter: the counts of all rows, including those that this attempt could not send.
    :param stopped_by: the error that stopped the run early.
    """
    return build_summary(
        counter,
        job=job.name,
        identity=job.identity,
        statuses=job.statuses,
        meisa_conn_id=options.meisa_conn_id,
        environment=preparation.environment,
        complete=complete,
        stopped_by=None if stopped_by is None else str(stopped_by),
        requests=now.requests,
        retries=now.retries,
        rate_limited=now.rate_limited,
        waited_s=now.waited,
        elapsed_s=time.time() - now.started_at,
        resumed=now.resumed,
        outcomes_path=options.outcomes_path,
        ledger=summary_of_ledger(job, options, client, preparation.ledger),
        report=_report(preparation),
    )


def summary_of_ledger(
    job: Job, options: RunOptions, client: MeisaClient, ledger: RunLedger | None
) -> dict[str, object] | None:
    """Return the ledger for the summary, if the run has one.

    :param ledger: the ledger, if this stretch has opened it.
    """
    if ledger is None and options.ledger is not None:
        return summary_of_ended_run(options.ledger, job, client)
    return ledger.summary if ledger else None


def _report(preparation: Preparation) -> Mapping[str, Any]:
    if preparation.ledger is None or "backlog" not in preparation.report:
        return preparation.report
    return {**preparation.report, **preparation.ledger.backlog}
