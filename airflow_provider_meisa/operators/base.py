"""The base of all operators: the connection, the link, and the steps around the requests."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_meisa.assets.extras import set_asset_extra
from airflow_provider_meisa.hooks.failures import FailureLog
from airflow_provider_meisa.hooks.meisa import MeisaHook
from airflow_provider_meisa.hooks.metrics import Meter, metered
from airflow_provider_meisa.links.meisa import MeisaSequenceLink, push_dashboard_link
from airflow_provider_meisa.operators.failure import raise_and_push_errors
from airflow_provider_meisa.operators.parameters import check_names, check_parameters

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow.providers.common.compat.sdk import AirflowException, Asset, BaseOperatorLink, Context

    from airflow_provider_meisa.bulk.options import OnAmbiguous

XCOM_KEY = "return_value"


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The result of a task.

    :param value: the value for XCom: plain JSON, no address in clear.
    :param failure: the exception to raise after that, if the task does not succeed.
    :param asset: the asset that the task has updated, for the events of its outlets.
    :param event: the extra of these events.
    """

    value: dict[str, Any]
    failure: AirflowException | None = None
    asset: Asset | None = None
    event: Mapping[str, Any] | None = None


class MeisaOperator(BaseOperator):
    """A task that sends requests to Meisa.

    On Airflow 3.3 and later it has a `MeisaRetryPolicy`, unless the DAG sets another one.

    :param meisa_conn_id: the Airflow Connection (templated).
    """

    operator_extra_links: Collection[BaseOperatorLink] = (MeisaSequenceLink(),)
    ui_color = "#f3e8ff"

    sequence_slug = ""
    """The sequence of the task; empty if it has none."""

    def __init__(self, *, meisa_conn_id: str = MeisaHook.default_conn_name, **kwargs: Any) -> None:
        check_names(self, kwargs)
        super().__init__(**kwargs)
        self.meisa_conn_id = meisa_conn_id
        with suppress(ImportError):  # Airflow before 3.3 has no retry policies
            from airflow_provider_meisa.operators.retry_policy import provide_retry_policy

            provide_retry_policy(self)

    @cached_property
    def hook(self) -> MeisaHook:
        """Return the hook of the connection, created on first use; it creates one client."""
        return MeisaHook(self.meisa_conn_id)

    def push(self, context: Context, value: Mapping[str, Any]) -> None:
        """Push the result of the task to XCom, also if it then fails or skips."""
        context["ti"].xcom_push(key=XCOM_KEY, value=value)

    def on_kill(self) -> None:
        """Send nothing from now on, and end every wait."""
        self.hook.stop()

    def begin(self, context: Context) -> MeisaHook:
        """Push the link to the sequence, check every parameter, and return the hook, before anything is sent or read.

        A class without `operator_extra_links` pushes no link.

        :raises MeisaInputError: if a parameter cannot be used.
        """
        check_parameters(self, "meisa_conn_id")
        if self.operator_extra_links:
            push_dashboard_link(context, self.hook, self.sequence_slug)
        check_parameters(self)
        return self.hook


class RecordOperator(MeisaOperator):
    """A task for one record; a subclass sends its request in `send`.

    `execute` does the rest: the link, the check of all parameters, metrics, XCom, the events of outlets, and the
    conversion of Meisa's exceptions to Airflow's.
    """

    on_ambiguous: OnAmbiguous = "resend"

    def execute(self, context: Context) -> Any:
        """Send the request of the task, push its result to XCom, and return it.

        :raises AirflowSkipException: if the result skips the task.
        :raises AirflowFailException: if the result fails the task, and for what a retry cannot fix.
        :raises AirflowException: if Meisa cannot be reached.
        """
        with (
            FailureLog(),
            raise_and_push_errors(self, context, ambiguous_is_final=self.on_ambiguous == "fail"),
        ):
            client = self.begin(context).get_conn()
            with metered(client, self.meisa_conn_id, self.sequence_slug) as meter:
                result = self.send(context, meter)
            self.push(context, result.value)
            if result.failure is not None:
                raise result.failure
        if result.asset is not None and result.event is not None:
            set_asset_extra(context, self.outlets, result.event, result.asset)
        return result.value

    @abstractmethod
    def send(self, context: Context, meter: Meter) -> TaskResult:
        """Send the request through methods of `hook`, and return the result.

        :raises MeisaError: if the request fails, or its response lacks the record.
        """
