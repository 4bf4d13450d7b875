"""The sensor that waits for sequences."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_meisa.api.errors import MeisaBackOffError, MeisaError
from airflow_provider_meisa.hooks.failures import FailureLog
from airflow_provider_meisa.hooks.meisa import MeisaHook, raise_airflow_errors
from airflow_provider_meisa.hooks.metrics import metered
from airflow_provider_meisa.links.meisa import MeisaSequenceLink, push_dashboard_link
from airflow_provider_meisa.operators.parameters import OnMissing, check_names, check_parameters

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

# Seconds that a check waits for the rate limits in its worker slot; after that it checks again later.
_LONGEST_WAIT = 10.0
# Airflow 2.11's error text where later versions raise an AirflowSensorTimeout (`check_trigger_timeouts`).
_TIMED_OUT = "Trigger/execution timeout"


class MeisaSequenceSensor(BaseSensorOperator):
    """Wait until sequences are active.

    One request checks all sequences of a sensor. It pushes the sequence to XCom as
    ``{slug, name, status, total_enrolled}``, or a list of them if ``sequence_slug`` is a list.

    :param sequence_slug: the sequence, or a list of them (templated).
    :param status: the status to wait for (templated). Meisa documents only ``active``; any other is compared as it is
        written.
    :param on_missing: ``wait`` or ``fail`` if the sequence does not exist.
    :param deferrable: wait in the triggerer, without a worker slot; by default ``[operators] default_deferrable``.
        It then checks every ``poke_interval``, without ``exponential_backoff`` and ``max_wait``.
    :param meisa_conn_id: the Airflow Connection; its key needs the scope ``sequences:read``.
    """

    template_fields: Sequence[str] = ("sequence_slug", "status", "meisa_conn_id")
    operator_extra_links = (MeisaSequenceLink(),)
    ui_color = "#e9d5ff"

    def __init__(
        self,
        *,
        sequence_slug: str | list[str],
        status: str = "active",
        on_missing: OnMissing = "fail",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        meisa_conn_id: str = MeisaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        check_names(self, kwargs)
        super().__init__(**kwargs)
        self.sequence_slug = sequence_slug
        self.status = status
        self.on_missing = on_missing
        self.deferrable = deferrable
        self.meisa_conn_id = meisa_conn_id
        self._last_state = ""

    def execute(self, context: Context) -> Any:
        """Wait, and return the sequence or sequences.

        :raises AirflowFailException: if a sequence does not exist and ``on_missing`` is ``fail``, and for what a
            retry cannot fix.
        :raises AirflowException: if the request fails.
        """
        with FailureLog():
            with raise_airflow_errors():
                check_parameters(self, "meisa_conn_id")
                push_dashboard_link(context, self._hook, self._only_slug)
                check_parameters(self)
            if not self.deferrable:
                return self._poke_until_timeout(context)
            found = self._check_once(context)
            return found.xcom_value if found else self._defer()

    def _poke_until_timeout(self, context: Context) -> Any:
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            raise self._timeout(error) from None

    def poke(self, context: Context) -> PokeReturnValue:
        """Check once."""
        from airflow_provider_meisa.api.endpoints.sequences import find_sequences
        from airflow_provider_meisa.api.readiness import readiness

        with raise_airflow_errors():
            try:
                client = self._hook.get_conn()
                with metered(client, self.meisa_conn_id, self._only_slug):
                    listed = find_sequences(client, self._slugs, max_age=self.poke_interval / 2)
            except MeisaBackOffError as error:
                self.log.info("%s Checking again later.", error)
                return PokeReturnValue(is_done=False)
            state = readiness(listed, self._slugs, status=self._wanted, on_missing=self.on_missing)
        self._last_state = str(state)
        self.log.info("Found: %s" if state.done else "Still waiting: %s", state)
        return PokeReturnValue(state.done, self._result([info.as_json() for info in state.ready]))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Return the sequences in the event of the trigger.

        :raises AirflowFailException: for what a retry cannot fix.
        :raises MeisaError: for the rest. It is not an exception of Airflow's, so that ``soft_fail`` treats it as in
            a sensor that pokes: the task fails (`BaseSensorOperator`, Airflow 2.11 to 3.3).
        """
        match event:
            case {"status": "ready", "sequences": list(sequences)}:
                self.log.info(
                    "Found: %s", ", ".join(f"{one['slug']} is {one['status']}" for one in sequences)
                )
                return self._result(sequences)
            case {"status": "error", "message": str(message), "final": bool(final)}:
                raise AirflowFailException(message) if final else MeisaError(message)
            case _:
                raise AirflowFailException(
                    "The trigger sent an event this version does not know. Was the provider upgraded while the task "
                    "waited? Clear the task to wait from the start."
                )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the trigger; treat a failure and a timeout alike on every Airflow.

        By itself, Airflow 2.11 retries a sensor after its timeout, and 3.0 ignores ``soft_fail`` then. Both ignore
        ``never_fail``, and later versions apply it only to exceptions of Airflow's.

        :raises AirflowSkipException: if ``soft_fail`` or ``never_fail`` is set.
        :raises AirflowSensorTimeout: after ``timeout``, without a retry.
        """
        with FailureLog():
            return self._resume(next_method, next_kwargs, context)

    def _resume(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException:
            raise
        except Exception as error:
            timed_out = isinstance(error, AirflowSensorTimeout) or str(error) == _TIMED_OUT
            if self.never_fail or (self.soft_fail and timed_out):
                raise AirflowSkipException(str(error)) from error
            if timed_out:
                self._look_once_more(context)
                raise self._timeout(error) from error
            raise

    def _look_once_more(self, context: Context) -> None:
        """Check for the message only: the trigger, which has waited, ran in another process."""
        with suppress(Exception):
            self.poke(context)

    def _timeout(self, error: BaseException) -> AirflowSensorTimeout:
        """Make the error of a timeout, with the state of the sequences at the last check."""
        found = f"At the last check: {self._last_state}." if self._last_state else "No check has succeeded."
        return AirflowSensorTimeout(
            f"{' '.join(str(error).split()).rstrip('.')}. {found} Activate the sequence in the Meisa dashboard, or "
            "raise timeout, and clear the task."
        )

    @property
    def _hook(self) -> MeisaHook:
        return MeisaHook(self.meisa_conn_id, max_wait=_LONGEST_WAIT)

    @property
    def _slugs(self) -> list[str]:
        rendered: object = self.sequence_slug
        slugs = [rendered] if isinstance(rendered, str) else rendered
        return list(slugs) if isinstance(slugs, Sequence) else []

    @property
    def _wanted(self) -> str:
        """Return the status, in Meisa's spelling if that is documented."""
        from airflow_provider_meisa.api.endpoints.sequences import ACTIVE

        return ACTIVE if self.status.strip().casefold() == ACTIVE else self.status

    @property
    def _only_slug(self) -> str:
        """Return the slug, not checked yet; empty for several."""
        return self._slugs[0] if len(self._slugs) == 1 else ""

    def _check_once(self, context: Context) -> PokeReturnValue:
        """Check before deferring; treat a failure as a sensor that pokes does."""
        try:
            return self.poke(context)
        except AirflowFailException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise
        except Exception as error:
            if self.silent_fail:
                self.log.exception("The check failed.")
                return PokeReturnValue(is_done=False)
            if self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def _defer(self) -> None:
        self.log.info(
            "Deferring: checking every %.0f s until %s UTC (worker slot released)",
            self.poke_interval,
            f"{datetime.now(UTC) + timedelta(seconds=self.timeout):%Y-%m-%d %H:%M:%S}",
        )
        from airflow_provider_meisa.triggers.sequences import MeisaSequenceTrigger

        self.defer(
            trigger=MeisaSequenceTrigger(
                meisa_conn_id=self.meisa_conn_id,
                slugs=self._slugs,
                status=self._wanted,
                on_missing=self.on_missing,
                poll_interval=self.poke_interval,
                silent_fail=self.silent_fail,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def _result(self, sequences: list[dict[str, Any]]) -> Any:
        return sequences[0] if isinstance(self.sequence_slug, str) and sequences else sequences
