"""The command ``sandbox``: runs the sandbox's own program, which imports no Airflow."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import NoReturn

from airflow_provider_meisa.cli.commands import SANDBOX, Argument


def sandbox(options: Namespace) -> NoReturn:
    """Replace this process with ``python -m airflow_provider_meisa.sandbox``, which handles signals itself."""
    words = [word for argument in SANDBOX for word in _words(argument, options)]
    sys.stdout.flush()
    program = [sys.executable, "-m", "airflow_provider_meisa.sandbox", *words]
    os.execv(sys.executable, program)  # noqa: S606 (this Python, and a module of this package)


def _words(argument: Argument, options: Namespace) -> list[str]:
    (flag,) = argument.flags
    value = getattr(options, flag.strip("-").replace("-", "_"))
    if isinstance(value, bool):
        return [flag] if value else []
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [f"{flag}={each}" for each in values]
