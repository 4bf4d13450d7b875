"""The parameters of all operators, the sensor, the decorator and the commands, with their checks.

A check takes the name and the value of a parameter, and returns the value to use. `check_parameters` runs the checks
when a task begins: templates are then rendered, and values of `.expand` and other tasks are known. Nothing has been
sent or read by then.
"""

from __future__ import annotations

import codecs
import inspect
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Literal, TypeGuard, get_args

from airflow_provider_meisa.api import checks
from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.column_names import shown_name
from airflow_provider_meisa.bulk.input_shapes import EDGES
from airflow_provider_meisa.bulk.options import FirstRun, OnAmbiguous, OnChangedAudience
from airflow_provider_meisa.bulk.outcome_file import FIELDS
from airflow_provider_meisa.operators.location import path_as_text
from airflow_provider_meisa.operators.redacted import unwrap

OnNo = Literal["success", "skip", "fail"]
OnMissing = Literal["wait", "fail"]  # as `triggers.sequences.ON_MISSING`

SOURCES = (
    "api",
    "import",
    "manual",
    "signup",
    "initial_sync",
)  # as `endpoints.contacts.SOURCES`, which loads requests
FORMATS = ("csv", "tsv", "jsonl", "lines", "parquet")
NULLS = ("send", "omit")  # as `jobs.sync_contacts.mapping.NULLS`
QUOTING = ("standard", "multiline", "none")
MOST_IN_FLIGHT = 16

Check = Callable[[str, object], Any]

_OURS = "airflow_provider_meisa."
_PART = r"""(?:[^\W\d][\w$]*|"[^"\\%?:]+"|`[^`\\%?:]+`|\[[^\]\\%?:]+\])"""
_TABLE = re.compile(rf"{_PART}(?:\.{_PART}){{0,3}}")
_RENDERED = {"True": True, "true": True, "False": False, "false": False}


def read_later(_name: str, value: object) -> object:
    """Accept any value: each address in it gets its status, or stops the task, when it is read."""
    return value


def templated_switch(name: str, value: object) -> bool:
    """Read a switch, which a template may have rendered to a text."""
    if isinstance(value, str) and value.strip() in _RENDERED:
        return _RENDERED[value.strip()]
    return checks.check_switch(name, value)


def slug(_name: str, value: object) -> str:
    """Read the slug of one sequence."""
    return checks.check_slug(value)


def slugs(_name: str, value: object) -> str | list[str]:
    """Read the slug of one sequence, or those of several."""
    if isinstance(value, str):
        return checks.check_slug(value)
    if not value or not isinstance(value, Sequence) or isinstance(value, bytes | bytearray):
        raise MeisaInputError("sequence_slug must be a slug or a list of slugs, none of them empty.")
    return [checks.check_slug(one) for one in value]


def word(name: str, value: object) -> str:
    """Read a status."""
    if not isinstance(value, str) or not value.strip():
        raise MeisaInputError(f"{name} must be a word such as active.")
    return value


def path(name: str, value: object) -> str:
    """Read a local path or a URI without blanks at its ends, also from an object; it is resolved later."""
    return checks.check_text(name, path_as_text(value), may_be_empty=True).strip(EDGES)


def plan(name: str, value: object) -> str:
    """Read the place and id of a plan, without blanks at the ends."""
    return checks.check_text(name, value.strip(EDGES) if isinstance(value, str) else value)


def column(name: str, value: object) -> str | int:
    """Read the name or the number of a column."""
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise MeisaInputError(f"{name} must be a column's name or its number from 0, not {checks.found(value)}.")


def delimiter(_name: str, value: object) -> str:
    """Read the character between two cells."""
    if is_delimiter(value):
        return value
    raise MeisaInputError(
        "delimiter must be one character that is not a letter, digit, quote or line break, such as ';' or '\\t'."
    )


def is_delimiter(value: object) -> TypeGuard[str]:
    """Return whether a value can be a delimiter."""
    return isinstance(value, str) and len(value) == 1 and not value.isalnum() and value not in '"\r\n@'


def resync(name: str, value: object) -> str | Sequence[str]:
    """Read what happens after a change of the mapping: a word, or the columns that may have changed."""
    if isinstance(value, str):
        return checks.check_choice(name, value, ("all", "record"))
    columns = checks.check_texts(name, value)
    if not columns:
        raise MeisaInputError("resync is an empty list. Name the columns that are mapped in another way.")
    return columns


def keep(name: str, value: object) -> list[str]:
    """Read the names of the columns that the outcomes file keeps, without blanks at the ends."""
    names = [text.strip(EDGES) for text in checks.check_texts(name, value)]
    taken = set(FIELDS)
    for text in names:
        if text.casefold() in taken:
            raise MeisaInputError(
                f"keep names {shown_name(text)!r}, which the outcomes file has already. Nothing was sent. Remove it, "
                "or give the column another name in the source."
            )
        taken.add(text.casefold())
    return names


def share(name: str, value: object) -> float:
    """Read a share, which may be above 1."""
    if not checks.is_number(value) or not 0 < value < math.inf:
        raise MeisaInputError(f"{name} must be a number above 0, such as 2.0, not {checks.found(value)}.")
    return value


def encoding(name: str, value: object) -> str:
    """Read the name of an encoding."""
    text = checks.check_text(name, value)
    try:
        codecs.lookup(text)
    except (LookupError, ValueError):
        raise MeisaInputError(f"{name} must be one that Python knows, not {checks.found(value)}.") from None
    return text


def json_texts(name: str, value: object) -> list[str]:
    """Read a list of texts, or the JSON text of one, which a template may have rendered."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise MeisaInputError(
                f"{name} is {checks.kind_of(value)} that is not JSON. Give a list with templates in it, or end the "
                "template with `| tojson`."
            ) from None
    return checks.check_texts(name, value)


def json_object(name: str, value: object) -> dict[str, object]:
    """Read an object of plain JSON, or the text of one, which a template may have rendered."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise MeisaInputError(
                f"{name} is {checks.kind_of(value)} that is not JSON. Give a dict with templates in it, or end the "
                "template with `| tojson`."
            ) from None
    return checks.check_json_object(name, value)


def driver_values(name: str, value: object) -> object:
    """Read the values for a query's placeholders; a text is refused, because it would be read letter by letter."""
    if isinstance(value, Mapping) or (
        isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)
    ):
        return value
    raise MeisaInputError(
        f"{name} must be a list or a dict, not {checks.kind_of(value)}. Put templates into the list, not around it, "
        "or set render_template_as_native_obj."
    )


def table(name: str, value: object) -> str:
    """Read the name of a table, which becomes part of a statement, without blanks at the ends."""
    text = checks.check_text(name, value).strip(EDGES)
    if _TABLE.fullmatch(text):
        return text
    raise MeisaInputError(
        f"{name} must be the name of a table, such as unsubscribed or marketing.unsubscribed. Put a part with other "
        "characters into the quotes of your database."
    )


def ledger_name(name: str, value: object) -> str:
    """Read the name of a ledger, without blanks at the ends."""
    return checks.check_text(name, value.strip(EDGES) if isinstance(value, str) else value)


def again_after(name: str, value: object) -> object:
    """Read the time after which a contact may be enrolled again."""
    if value == "never" or (isinstance(value, timedelta) and value > timedelta(0)):
        return value
    raise MeisaInputError(
        f"{name} must be 'never' or a timedelta above 0, such as timedelta(days=90), not {checks.found(value)}."
    )


def period(name: str, value: object) -> object:
    """Read after how long something is done again."""
    if isinstance(value, timedelta) and value >= timedelta(hours=1):
        return value
    raise MeisaInputError(
        f"{name} must be a timedelta of an hour or more, such as timedelta(days=30), not {checks.found(value)}."
    )


def one_of(choices: Sequence[str]) -> Check:
    """Make the check of a parameter with a list of choices."""
    return partial(checks.check_choice, choices=choices)


name_of_contact: Check = partial(checks.check_text, may_be_empty=True)

PARAMETERS: Mapping[str, Check] = MappingProxyType(
    {
        # Contacts.
        "contact_email": read_later,
        "emails": read_later,
        "email_column": column,
        "sql": checks.check_text,
        "parameters": driver_values,
        "path": path,
        "format": one_of(FORMATS),
        "encoding": encoding,
        "delimiter": delimiter,
        "quoting": one_of(QUOTING),
        # Fields of a contact.
        "external_id": checks.check_text,
        "first_name": name_of_contact,
        "last_name": name_of_contact,
        "display_name": name_of_contact,
        "source": one_of(SOURCES),
        "custom_fields": json_object,
        "tag_names": json_texts,
        # Of many contacts: the names of columns are checked where the mapping is made.
        "contacts": read_later,
        "fields": read_later,
        "ContactSyncOperator.custom_fields": read_later,
        "tags": read_later,
        "json_columns": read_later,
        "types": read_later,
        "nulls": one_of(NULLS),
        "sync_name": checks.check_text,
        # The enrollment.
        "sequence_slug": slug,
        "MeisaSequenceSensor.sequence_slug": slugs,
        "metadata": json_object,
        "trigger_source": checks.check_text,
        # Connections and files.
        "meisa_conn_id": checks.check_text,
        "conn_id": checks.check_text,
        "staging_path": path,
        "plan": plan,
        "outcomes_path": path,
        "keep": keep,
        # A table to write.
        "table": table,
        "mode": one_of(("replace", "merge")),
        "create_table": templated_switch,
        "load_id": checks.check_text,
        # The ledger.
        "ledger": ledger_name,
        "again_after": again_after,
        "record_id": checks.check_text,
        "first_run": one_of(get_args(FirstRun)),
        "accept_lost_ledger": checks.check_text,
        # Switches.
        "override_unsubscribe": templated_switch,
        "skip_suppressed": templated_switch,
        "preview": templated_switch,
        "rejects_only": templated_switch,
        "retry_refused": templated_switch,
        "deferrable": checks.check_switch,
        # Numbers and times.
        "max_changes": checks.check_limit,
        "max_contacts": checks.check_count,
        "min_contacts": checks.check_count,
        "max_share_of_last": share,
        "max_failed": checks.check_limit,
        "max_invalid": checks.check_limit,
        "max_in_flight": partial(checks.check_count, least=1, most=MOST_IN_FLIGHT),
        "defer_after": checks.check_seconds,
        "resync_after": period,
        "stop_after": checks.check_seconds,
        # Choices.
        "on_already_enrolled": one_of(get_args(OnNo)),
        "on_ambiguous": one_of(get_args(OnAmbiguous)),
        "on_changed_audience": one_of(get_args(OnChangedAudience)),
        "on_empty": one_of(get_args(OnNo)),
        "on_missing": one_of(get_args(OnMissing)),
        "on_nothing_valid": one_of(get_args(OnNo)),
        "on_older_run": one_of(("fail", "send")),
        "on_suppressed": one_of(get_args(OnNo)),
        "resync": resync,
        "status": word,
    }
)
"""The check of each parameter; a rule of one class is under its name as well."""


def check_parameters(task: Any, *names: str) -> None:
    """Check the parameters of a task, and replace each by its checked value.

    A parameter whose default is ``None`` may be ``None``.

    :param names: check only these.
    :raises MeisaInputError: if one cannot be used; nothing was sent.
    """
    for name, check, default in declared(type(task)):
        value = unwrap(getattr(task, name))
        if (names and name not in names) or check is None or (value is None and default is None):
            continue
        if hasattr(value, "iter_references"):
            raise MeisaInputError(f"{name} is the output of another task, but it is not templated.")
        checked = check(name, value)
        if checked is not value:
            setattr(task, name, checked)


def check_names(operator: object, given: Mapping[str, object]) -> None:
    """Refuse parameters that a class does not have, by their names: Airflow's own message shows their values.

    :raises TypeError: for an unknown name, as Airflow does.
    """
    kind: Any = type(operator)
    for name in given:
        if name not in (known := _names(kind)) and not name.startswith("_airflow"):
            nearest = get_close_matches(name, known, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise TypeError(f"{kind.__name__} has no parameter {name!r}.{hint}")


@cache
def _names(kind: type) -> frozenset[str]:
    """Return the names of all parameters of a class, with those of Airflow."""
    owners = (owner for owner in kind.__mro__ if "__init__" in vars(owner))
    return frozenset(
        name for owner in owners for name in inspect.signature(vars(owner)["__init__"]).parameters
    )


def declared(kind: type) -> Iterator[tuple[str, Check | None, object]]:
    """Yield the parameters of a class: the name, the check if there is one, and the default."""
    for owner in kind.__mro__:
        if owner.__module__.startswith(_OURS) and "__init__" in vars(owner):
            for parameter in inspect.signature(vars(owner)["__init__"]).parameters.values():
                if parameter.kind is parameter.KEYWORD_ONLY:
                    name = parameter.name
                    check = PARAMETERS.get(f"{owner.__name__}.{name}") or PARAMETERS.get(name)
                    yield name, check, parameter.default
