"""The commands as Airflow's own classes (Airflow 3.2 and later, ``airflow.cli.cli_config``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_meisa.cli.commands import ABOUT, COMMANDS, EXIT_STATUS, Command, Group

if TYPE_CHECKING:
    from airflow.cli.cli_config import ActionCommand, GroupCommand


def get_cli_commands() -> list[ActionCommand | GroupCommand]:
    """Return the commands for ``airflow``; ``get_provider_info`` names this function under ``cli``."""
    from airflow.cli.cli_config import GroupCommand

    return [GroupCommand("meisa", ABOUT, list(map(_defined, COMMANDS)), epilog=EXIT_STATUS)]


def _defined(command: Command | Group) -> ActionCommand | GroupCommand:
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

    if isinstance(command, Group):
        return GroupCommand(
            command.name, command.help, list(map(_defined, command.commands)), epilog=EXIT_STATUS
        )
    arguments = [Arg(argument.flags, **argument.options) for argument in command.arguments]
    return ActionCommand(
        command.name, command.help, lazy_load_command(command.function), arguments, epilog=command.epilog
    )
