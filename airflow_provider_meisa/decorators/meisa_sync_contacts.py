"""``@task.meisa_sync_contacts``: a function gives rows, the task keeps contacts in step with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import task_decorator_factory

from airflow_provider_meisa.decorators.function import FunctionMixin
from airflow_provider_meisa.operators.sync_contacts import ContactSyncOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, TaskDecorator


# ContactSyncOperator is first because its `execute` must be used.
class MeisaSyncContactsDecoratedOperator(ContactSyncOperator, FunctionMixin):
    """Create and update the contacts that a function returns or yields, if they have changed.

    The function is called once a run, before the first request.

    :param python_callable: the function: returns or yields dicts, lists of them, or tables.
    :param op_args: its positional arguments (templated, never shown in the UI).
    :param op_kwargs: its keyword arguments (templated, never shown in the UI). Airflow adds the parts of the context
        for which the function has parameters.
    :param kwargs: the parameters of `ContactSyncOperator`, such as ``ledger``.
    """

    template_fields: Sequence[str] = ("op_args", "op_kwargs", *ContactSyncOperator.template_fields)
    custom_operator_name = "@task.meisa_sync_contacts"
    source_name = "What the function returned"

    def read(self, context: Context) -> Iterator[object]:
        """Call the function, and return the records in what it gives.

        :raises MeisaInputError: if it gives something else.
        """
        from airflow_provider_meisa.bulk.records import read_records

        yield from read_records(self.call(context), self.source_name)


def meisa_sync_contacts_task(
    python_callable: Callable[..., Any] | None = None, **kwargs: Any
) -> TaskDecorator:
    """Turn a function into a task that syncs what it returns; DAGs write it ``@task.meisa_sync_contacts(…)``.

    :param python_callable: the function, if the decorator has no arguments.
    :param kwargs: see `MeisaSyncContactsDecoratedOperator`.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=MeisaSyncContactsDecoratedOperator, **kwargs
    )
