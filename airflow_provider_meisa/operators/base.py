"""What every task of ours has: a connection, a link, and a sense of when to try again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_meisa.api.errors import MeisaInputError
from airflow_provider_meisa.hooks.meisa import MeisaHook
from airflow_provider_meisa.links.meisa import MeisaSequenceLink


class MeisaOperator(BaseOperator):
    """A task that talks to Meisa.

    On Airflow 3.3 and later it has a `MeisaRetryPolicy`, unless its author gives it another.

    :param meisa_conn_id: the Airflow Connection (templated).
    """

    operator_extra_links = (MeisaSequenceLink(),)
    ui_color = "#f3e8ff"

    def __init__(self, *, meisa_conn_id: str = MeisaHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.meisa_conn_id = meisa_conn_id
        with suppress(ImportError):  # Airflow before 3.3 has no retry policies
            from airflow_provider_meisa.operators.retry_policy import provide_retry_policy

            provide_retry_policy(self)

    def check_choice(self, name: str, choices: Sequence[str]) -> None:
        """See that a parameter is one of the choices.

        :raises MeisaInputError: if it is not.
        """
        if getattr(self, name) not in choices:
            raise MeisaInputError(f"{name} must be one of: {', '.join(choices)}.")
