"""What every task of ours has: a connection, a link, and a sense of when to try again."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_meisa.hooks.meisa import MeisaHook
from airflow_provider_meisa.links.meisa import MeisaSequenceLink, leave_link
from airflow_provider_meisa.operators.parameters import check_parameters

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context


class MeisaOperator(BaseOperator):
    """A task that talks to Meisa.

    On Airflow 3.3 and later it has a `MeisaRetryPolicy`, unless its author gives it another.

    :param meisa_conn_id: the Airflow Connection (templated).
    """

    operator_extra_links: Collection[BaseOperatorLink] = (MeisaSequenceLink(),)
    ui_color = "#f3e8ff"

    sequence_slug: str

    def __init__(self, *, meisa_conn_id: str = MeisaHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.meisa_conn_id = meisa_conn_id
        with suppress(ImportError):  # Airflow before 3.3 has no retry policies
            from airflow_provider_meisa.operators.retry_policy import provide_retry_policy

            provide_retry_policy(self)

    @cached_property
    def hook(self) -> MeisaHook:
        """The hook of the task's connection, made when it is first asked for; it makes its client once."""
        return MeisaHook(self.meisa_conn_id)

    def begin(self, context: Context) -> MeisaHook:
        """Leave the link to the sequence, check every parameter, and return the hook; nothing is sent or read before.

        A class without `operator_extra_links` leaves no link.

        :raises MeisaInputError: if a parameter cannot be used.
        """
        check_parameters(self, "meisa_conn_id")
        if self.operator_extra_links:
            leave_link(context, self.hook, self.sequence_slug)
        check_parameters(self)
        return self.hook
