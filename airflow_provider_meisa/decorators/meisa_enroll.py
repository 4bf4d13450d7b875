"""``@task.meisa_enroll``: enroll the contacts that a function returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import task_decorator_factory

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.bulk.input_shapes import AddressReader, addresses_from
from airflow_provider_meisa.bulk.records import read_records
from airflow_provider_meisa.decorators.function import FunctionMixin
from airflow_provider_meisa.operators.audience import AudienceOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, TaskDecorator


# AudienceOperator is first because its `execute` must be used.
class MeisaEnrollDecoratedOperator(AudienceOperator, FunctionMixin):
    """Enroll any number of contacts that a function returns or yields, and report the status of each.

    The function is called once per run, before the first request; its values are planned as they come.

    :param python_callable: the function; it returns or yields addresses, lists of them, rows, records or tables.
    :param op_args: its positional arguments (templated, never shown in the UI).
    :param op_kwargs: its keyword arguments (templated, never shown in the UI). Airflow adds the parts of the context
        for which the function has parameters.
    :param email_column: the column of the addresses in rows, records and tables: its name, or its number from 0. By
        default the only column, else the one named ``email``, in any case.
    :param kwargs: the parameters of `AudienceOperator`, such as ``sequence_slug``.
    """

    template_fields: Sequence[str] = ("op_args", "op_kwargs", *AudienceOperator.template_fields)
    custom_operator_name = "@task.meisa_enroll"

    def __init__(self, *, email_column: str | int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.email_column = email_column

    def read(self, context: Context) -> Iterator[object]:
        """Call the function, and return the addresses in its values.

        :raises MeisaInputError: if it has other values.
        """
        given = self.call(context)
        if self.reads_rows:
            yield from read_records(given, "What the function returned")
            return
        try:
            yield from AddressReader(self.email_column).read(addresses_from(given))
        except MeisaInputError as error:
            raise MeisaInputError(f"What the function returned cannot be enrolled: {error}") from error


def meisa_enroll_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Make a task of a function that returns contacts; in DAGs it is ``@task.meisa_enroll(…)``.

    :param python_callable: the function, if the decorator has no arguments.
    :param kwargs: see `MeisaEnrollDecoratedOperator`.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=MeisaEnrollDecoratedOperator, **kwargs
    )
