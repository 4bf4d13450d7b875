"""The function under a decorator: its arguments are never shown, and it is called when the task reads its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import DecoratedOperator, context_merge, determine_kwargs

from airflow_provider_meisa.operators.redacted import RedactedField, follow_references, unwrap

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class FunctionMixin(DecoratedOperator):
    """Gives an operator a function that returns or yields its rows.

    :param python_callable: the function.
    :param op_args: its positional arguments (templated, never shown in the UI).
    :param op_kwargs: its keyword arguments (templated, never shown in the UI). Airflow adds the parts of the context
        for which the function has parameters.
    """

    template_fields_renderers: ClassVar[dict[str, str]] = {}

    op_args = RedactedField()
    op_kwargs = RedactedField()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        follow_references(self, self.op_args, self.op_kwargs)

    def call(self, context: Context) -> Any:
        """Call the function, and return what it returns."""
        args = unwrap(self.op_args)
        context_merge(context, unwrap(self.op_kwargs))
        return self.python_callable(*args, **determine_kwargs(self.python_callable, args, context))
