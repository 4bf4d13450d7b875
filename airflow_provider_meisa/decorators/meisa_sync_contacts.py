"""``@task.meisa_sync_contacts``: a function gives rows, the task keeps contacts in step with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    DecoratedOperator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from airflow_provider_meisa.operators.redacted import RedactedField, follow_references, unwrap
from airflow_provider_meisa.operators.sync_contacts import ContactSyncOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, TaskDecorator


# The sync stands first: its `execute` is the one that counts.
class MeisaSyncContactsDecoratedOperator(ContactSyncOperator, DecoratedOperator):
    """Create and update the contacts that a function returns or yields, if they have changed.

    The function is called once a run, before the first request.

    :param python_callable: the function: returns or yields dicts, lists of them, or tables.
    :param op_args: its positional arguments (templated, never shown in the UI).
    :param op_kwargs: its keyword arguments (templated, never shown in the UI). Airflow adds the parts of the context
        for which the function has parameters.
    :param kwargs: the parameters of `ContactSyncOperator`, such as ``ledger``.
    """

    template_fields: Sequence[str] = ("op_args", "op_kwargs", *ContactSyncOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    custom_operator_name = "@task.meisa_sync_contacts"
    source_name = "What the function returned"

    op_args = RedactedField()
    op_kwargs = RedactedField()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        follow_references(self, self.op_args, self.op_kwargs)

    def read(self, context: Context) -> Iterator[object]:
        """Call the function, and return the records in what it gives.

        :raises MeisaInputError: if it gives something else.
        """
        from airflow_provider_meisa.bulk.records import read_records

        args = unwrap(self.op_args)
        context_merge(context, unwrap(self.op_kwargs))
        given = self.python_callable(*args, **determine_kwargs(self.python_callable, args, context))
        yield from read_records(given, self.source_name)


def meisa_sync_contacts_task(
    python_callable: Callable[..., Any] | None = None, **kwargs: Any
) -> TaskDecorator:
    """Turn a function into a task that syncs what it returns; DAGs write it ``@task.meisa_sync_contacts(…)``.

    :param python_callable: the function, where the decorator stands without arguments.
    :param kwargs: see `MeisaSyncContactsDecoratedOperator`.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=MeisaSyncContactsDecoratedOperator, **kwargs
    )
