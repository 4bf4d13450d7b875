"""How a command ends: its exit status, and a sentence for every error that is to be expected."""

from __future__ import annotations

import functools
from argparse import Namespace
from collections.abc import Callable
from enum import IntEnum
from typing import NoReturn

from airflow.providers.common.compat.sdk import AirflowException
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from airflow_provider_meisa.api.errors import MeisaError, MeisaInputError
from airflow_provider_meisa.cli.sentences import logs_said, say


class Status(IntEnum):
    """The exit status of a command."""

    FINE = 0
    FAILED = 1
    """Meisa said no, did not answer, or too many addresses failed."""
    NOT_AS_ASKED = 2
    """The arguments, the connection or the file cannot be used."""
    INTERRUPTED = 130
    """Ctrl+C, as shells say it."""


def command(perform: Callable[[Namespace], Status]) -> Callable[[Namespace], NoReturn]:
    """Make a command that ends the process with its status."""

    @functools.wraps(perform)
    @providers_configuration_loaded
    def run(options: Namespace) -> NoReturn:
        raise SystemExit(int(_status_of(perform, options)))

    return run


def _status_of(perform: Callable[[Namespace], Status], options: Namespace) -> Status:
    with logs_said(verbose=options.verbose):
        try:
            return perform(options)
        except MeisaInputError as error:
            say(str(error))
            return Status.NOT_AS_ASKED
        except (MeisaError, AirflowException) as error:  # Airflow's: of the connection to a store of files
            say(str(error))
            return Status.FAILED
        except KeyboardInterrupt:
            say("Interrupted.")
            return Status.INTERRUPTED
