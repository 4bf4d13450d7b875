"""A list of results that names just the addresses sent, in their order: read by columns, in a quarter of the time."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.bulk_enroll_response.result import Mention, address_in, read_result, tells

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def read_echo(sent: Sequence[str], results: Sequence[Any], under: Mention) -> list[Mention] | None:
    """Read what each result says, alike ones once; ``None`` if the list is no such echo.

    :param sent: the addresses of the request.
    :param results: a list of the answer.
    :param under: what the name says that the list stands under.
    """
    columns = _columns(results) if len(results) == len(sent) else {}
    if tuple(sent) not in columns.values():
        return None
    telling = [column for name, column in columns.items() if tells(name)]
    values = [*zip(*telling, strict=True)] if telling else [()] * len(sent)
    try:
        examples = dict(zip(values, results, strict=True))
    except TypeError:
        return None  # a list or an object among them cannot be looked up
    mentions = {value: read_result(example, under) for value, example in examples.items()}
    return [mentions[value] for value in values]


def _columns(results: Sequence[Any]) -> Mapping[str, tuple[object, ...]]:
    """Turn results that have the same fields into a column a field; there are none where they differ."""
    if set(map(type, results)) != {dict} or address_in(results[0]) is None:
        return {}
    names = results[0].keys()
    if set(map(len, results)) != {len(names)}:
        return {}
    try:
        return {name: tuple(map(itemgetter(name), results)) for name in names}
    except KeyError:
        return {}
