"""The plugin's own API, for the page and the tab. Only the static files are public; they hold no data."""

from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Response
from fastapi.staticfiles import StaticFiles

from airflow_provider_meisa.plugins import access, runs
from airflow_provider_meisa.plugins.connections import is_meisa, offered
from airflow_provider_meisa.plugins.runs import RUNS
from airflow_provider_meisa.plugins.sequence_cache import SEQUENCES, rate_left

STATIC = Path(__file__).with_name("static")
router = APIRouter()


class RevalidatedFiles(StaticFiles):
    """Files that browsers revalidate by ETag, so that an upgrade takes effect; an unchanged file costs a 304."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Respond with a file."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def make_app() -> FastAPI:
    """Create the app. Every route responds with 401 without a login; the static files are public code."""
    app = FastAPI(title="Meisa", openapi_url=None, dependencies=[Depends(get_user)])
    app.include_router(router)
    app.mount("/static", RevalidatedFiles(directory=STATIC))
    return app


def readable_connection(connection: str, user: GetUserDep) -> str:
    """Return the id of a connection if it has the type Meisa and the user may read it.

    A connection that does not exist, and one that the user may not read, get the same response.
    """
    if not access.may_read_connection(connection, user) or not is_meisa(connection):
        raise HTTPException(
            403, "This connection does not exist, is not of the type Meisa, or you may not read it."
        )
    return connection


ConnectionDep = Annotated[str, Depends(readable_connection)]


def dags_with_results(user: GetUserDep) -> set[str]:
    """Return the DAGs whose task instances and XComs the user may read."""
    if not access.may_read_results(None, user):
        raise HTTPException(403, "You may not read task instances and XComs. Ask your administrator.")
    return access.readable_dags(user)


@router.get("/connections")
def connections(user: GetUserDep, session: SessionDep) -> list[str]:
    """List the connections to Meisa that the user may read."""
    return [conn_id for conn_id in offered(session) if access.may_read_connection(conn_id, user)]


@router.get("/sequences")
def sequences(connection: ConnectionDep) -> dict[str, object]:
    """List a connection's sequences, with at most one request to Meisa in 30 seconds."""
    return SEQUENCES.of(connection)


@router.get("/rate_limits")
def rate_limiter(connection: ConnectionDep) -> dict[str, object]:
    """Return the requests left in each window of a connection's rate limits, without a request to Meisa."""
    return rate_left(connection)


@router.get("/runs")
def latest_runs(
    dags: Annotated[set[str], Depends(dags_with_results)],
    user: GetUserDep,
    session: SessionDep,
    days: Annotated[int, Query(ge=1, le=366)] = 7,
    dag_id: str | None = None,
) -> dict[str, object]:
    """List the newest runs of the last days, of one DAG if it is given and the user may read it."""
    found = RUNS.of(session, dags if dag_id is None else dags & {dag_id}, days=days)
    may_read = access.connection_check(user)
    shown = [run.in_short(may_read=may_read) for run in found]
    named = found if dag_id is None else RUNS.of(session, dags, days=days)
    return {
        "runs": shown,
        "dags": sorted({run.dag_id for run in named}),
        "truncated": len(found) == runs.MOST_RUNS,
    }


@router.get("/task")
def task(
    *, dag_id: str, run_id: str, task_id: str, map_index: int = -1, user: GetUserDep, session: SessionDep
) -> dict[str, object]:
    """Return the run of one task instance; ``run`` is null for a task of another provider or one not started."""
    if not access.may_read_results(dag_id, user):
        raise HTTPException(
            403, "You may not read this DAG's task instances and XComs. Ask your administrator."
        )
    run = runs.one(session, dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)
    if run is None:
        return {"run": None}
    before = runs.ledger_before(session, run)
    return {"run": {**run.as_json(may_read=access.connection_check(user)), "ledger_before": before}}
