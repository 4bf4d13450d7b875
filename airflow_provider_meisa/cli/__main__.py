"""``python -m airflow_provider_meisa.cli``, and ``airflow-meisa``: the same commands on any Airflow."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

from airflow_provider_meisa.cli.commands import ABOUT, COMMANDS, EXIT_STATUS, Command, Group


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    :raises SystemExit: always, with the exit status.
    """
    options = parser().parse_args(arguments)
    module, _, name = options.function.rpartition(".")
    getattr(importlib.import_module(module), name)(options)


def parser() -> argparse.ArgumentParser:
    """Create the parser of all commands."""
    whole = argparse.ArgumentParser(prog="airflow-meisa", description=ABOUT, epilog=EXIT_STATUS)
    _add(whole, COMMANDS)
    return whole


def _add(parent: argparse.ArgumentParser, commands: Sequence[Command | Group]) -> None:
    parsers = parent.add_subparsers(metavar="COMMAND", required=True)
    for command in commands:
        one = parsers.add_parser(
            command.name, help=command.help, description=command.help, epilog=EXIT_STATUS
        )
        if isinstance(command, Group):
            _add(one, command.commands)
            continue
        one.epilog = command.epilog
        for argument in command.arguments:
            one.add_argument(*argument.flags, **argument.options)
        one.set_defaults(function=command.function)


if __name__ == "__main__":
    main()
