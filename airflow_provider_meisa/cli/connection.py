"""From a connection's id to a client."""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from collections.abc import Callable

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException
from airflow.utils.cli import suppress_logs_and_warning

from airflow_provider_meisa.api.client import MAX_WAIT, MeisaClient
from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.api.models import Request, Response
from airflow_provider_meisa.api.rate_limit.limiter import Reservation
from airflow_provider_meisa.api.settings import Settings
from airflow_provider_meisa.cli.output import print_message, print_wait
from airflow_provider_meisa.hooks.meisa import MeisaHook, warn_of_unknown_extras

log = logging.getLogger(__name__)


def settings_of(conn_id: str) -> Settings:
    """Read a connection, wherever Airflow keeps it.

    :raises MeisaInputError: if there is none, or its fields cannot be used.
    """
    # Airflow 3 shows the connections of its database only to what says that it is no task, as its own commands do.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    found: list[Settings] = []

    @suppress_logs_and_warning  # Airflow warns of fields too short to be masked, and 2.11 does so among the results
    def read(_quietly: Namespace) -> None:
        found.append(MeisaHook(conn_id).get_conn().settings)

    try:
        read(Namespace(verbose=False))
    except AirflowNotFoundException as error:
        raise MeisaInputError(
            f"There is no connection {conn_id!r}. Add it in the Airflow UI or with `airflow connections "
            "add`, or name another with --conn-id."
        ) from error
    except AirflowException as error:  # of a field; the message names it
        raise MeisaInputError(str(error)) from error
    warn_of_unknown_extras(conn_id, found[0])  # which was not to be seen before
    return found[0]


class VerboseClient(MeisaClient):
    """A client for a person who waits with it.

    :param settings: base URL, key and habits.
    :param max_wait: the longest wait, in seconds, that a call sits out.
    :param on_wait: told the seconds of each wait as it begins; called from several threads.
    """

    def __init__(
        self, settings: Settings, *, max_wait: float = MAX_WAIT, on_wait: Callable[[float], None] = print_wait
    ) -> None:
        super().__init__(settings, max_wait=max_wait)
        self._on_wait = on_wait

    def send(
        self, request: Request, *, reservation: Reservation | None = None, resend: bool = False
    ) -> Response:
        """Tell whoever wants to know of a call, and send it."""
        log.info("%s", request)
        return super().send(request, reservation=reservation, resend=resend)

    def wait(self, seconds: float) -> None:
        """Tell of a wait, and wait."""
        self._on_wait(seconds)
        super().wait(seconds)

    def stop(self) -> None:
        """Send nothing from now on, and say so: the answers on their way may take a while."""
        print_message("Stopping: nothing more is sent.")
        super().stop()


def client_of(conn_id: str) -> MeisaClient:
    """Make a client that says its long waits.

    :raises MeisaInputError: if there is no such connection, or its fields cannot be used.
    """
    return VerboseClient(settings_of(conn_id))
