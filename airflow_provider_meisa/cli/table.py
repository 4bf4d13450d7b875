"""What a command has found, in the format that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_meisa.api.redaction import scrub

Row = dict[str, Any]


def show(rows: Sequence[Row], output: str) -> None:
    """Print rows as Airflow's other commands do; in JSON and YAML numbers stay numbers.

    :param output: ``table``, ``json``, ``yaml`` or ``plain``.
    """
    from airflow.cli.simple_table import AirflowConsole
    from rich.markup import escape

    console = AirflowConsole()
    listed: Any = list(rows)  # Airflow annotates a dict, and passes lists itself
    match output:
        case "json":
            console.print_as_json(listed)
        case "yaml":
            console.print_as_yaml(listed)
        case "plain":
            if rows:  # of none Airflow would print a sentence, which a program would take for a row
                console.print_as([_in_words(row) for row in rows], "plain")
        case _:
            words = [_in_words(row) for row in rows]
            console.print_as([{name: escape(text) for name, text in row.items()} for row in words], "table")


def _in_words(row: Row) -> dict[str, str]:
    return {name: _text(value) for name, value in row.items()}


def _text(value: object) -> str:
    """Put a value into one printable line: a terminal obeys what a foreign text may hold."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {of_it}" for name, of_it in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "-"
    return "-" if value is None else scrub(str(value))
