"""The commands of the command line with the words that name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airflow_provider_meisa.cli.commands import COMMANDS, Command, Group


def named_commands(
    commands: Sequence[Command | Group] = COMMANDS, prefix: str = ""
) -> Iterator[tuple[str, Command]]:
    """Yield each command with its words, such as ``ledger show``."""
    for each in commands:
        if isinstance(each, Group):
            yield from named_commands(each.commands, f"{prefix}{each.name} ")
        else:
            yield prefix + each.name, each
