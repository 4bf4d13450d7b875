"""The command ``sandbox``: hands over to the sandbox's own program, which knows nothing of Airflow."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import NoReturn

from airflow_provider_meisa.cli.commands import SANDBOX, Argument


def sandbox(options: Namespace) -> NoReturn:
    """Become ``python -m airflow_provider_meisa.sandbox``: signals and the exit status are its own."""
    words = [word for argument in SANDBOX for word in _words(argument, options)]
    sys.stdout.flush()
    program = [sys.executable, "-m", "airflow_provider_meisa.sandbox", *words]
    os.execv(sys.executable, program)  # noqa: S606 (this Python, and a module of ours)


def _words(argument: Argument, options: Namespace) -> list[str]:
    (flag,) = argument.flags
    value = getattr(options, flag.strip("-").replace("-", "_"))
    if isinstance(value, bool):
        return [flag] if value else []
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [f"{flag}={each}" for each in values]
