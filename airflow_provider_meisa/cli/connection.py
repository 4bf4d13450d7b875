"""Create a client from a connection's id."""

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
from airflow_provider_meisa.hooks.connections import warn_of_unknown_extras
from airflow_provider_meisa.hooks.meisa import MeisaHook

log = logging.getLogger(__name__)


def settings_of(conn_id: str) -> Settings:
    """Read a connection, wherever Airflow keeps it.

    :raises MeisaInputError: if it does not exist, or one of its fields is invalid.
    """
    # Airflow 3 returns connections of its database only to a process that is not a task. Its own commands set this too.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    found: list[Settings] = []

    @suppress_logs_and_warning  # Airflow warns about fields too short to mask; 2.11 does so on standard output
    def read(_quietly: Namespace) -> None:
        found.append(MeisaHook(conn_id).get_conn().settings)

    try:
        read(Namespace(verbose=False))
    except AirflowNotFoundException as error:
        raise MeisaInputError(
            f"There is no connection {conn_id!r}. Add it in the Airflow UI or with `airflow connections "
            "add`, or set --conn-id to another."
        ) from error
    except AirflowException as error:  # about a field, which the message names
        raise MeisaInputError(str(error)) from error
    warn_of_unknown_extras(conn_id, found[0])  # again, because warnings were suppressed above
    return found[0]


class VerboseClient(MeisaClient):
    """A client that logs its requests and reports its waits.

    :param settings: base URL, API key and options of the connection.
    :param max_wait: the longest wait, in seconds, for which a request waits.
    :param on_wait: called with the seconds of each wait when it begins, from several threads.
    """

    def __init__(
        self, settings: Settings, *, max_wait: float = MAX_WAIT, on_wait: Callable[[float], None] = print_wait
    ) -> None:
        super().__init__(settings, max_wait=max_wait)
        self._on_wait = on_wait

    def send(
        self, request: Request, *, reservation: Reservation | None = None, resend: bool = False
    ) -> Response:
        """Log a request, and send it."""
        log.info("%s", request)
        return super().send(request, reservation=reservation, resend=resend)

    def wait(self, seconds: float) -> None:
        """Report a wait, and wait."""
        self._on_wait(seconds)
        super().wait(seconds)

    def stop(self) -> None:
        """Send no further requests, and print so: responses to requests in flight may take a while."""
        print_message("Stopping: no further requests are sent.")
        super().stop()


def client_of(conn_id: str) -> MeisaClient:
    """Create a client that prints its long waits.

    :raises MeisaInputError: if the connection does not exist, or one of its fields is invalid.
    """
    return VerboseClient(settings_of(conn_id))
