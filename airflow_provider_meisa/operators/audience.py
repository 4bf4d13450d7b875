"""What every task shares that enrolls an audience: perform the engine, account for each address, decide on red."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator

from airflow_provider_meisa.api.audience import batches
from airflow_provider_meisa.api.enrollment import Done, Enrollment, Send
from airflow_provider_meisa.api.errors import MeisaError, MeisaInputError
from airflow_provider_meisa.api.outcomes import Verdict, check_limit, in_words, objections, summary
from airflow_provider_meisa.api.quota import Wait
from airflow_provider_meisa.hooks.meisa import MeisaHook, airflow_failures
from airflow_provider_meisa.links.meisa import MeisaSequenceLink, leave_link

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_meisa.api.client import MeisaClient

OnNo = Literal["success", "skip", "fail"]
OnAmbiguous = Literal["resend", "fail"]

XCOM_KEY = "return_value"
ON_NO = ("success", "skip", "fail")
ON_AMBIGUOUS = ("resend", "fail")


class AudienceOperator(BaseOperator):
    """Enroll an audience into a sequence, 500 addresses a request; a subclass says where the addresses come from.

    :param sequence_slug: an active sequence (templated).
    :param override_unsubscribe: enroll even the suppressed; needs ``allow_override_unsubscribe`` on the connection.
    :param max_failed: most failed and unreported addresses: ``int`` a number, ``float`` a share, ``None`` no limit.
    :param max_invalid: most invalid addresses, likewise.
    :param on_empty: ``success``, ``skip`` or ``fail``, if there is no address at all.
    :param on_ambiguous: when a batch's answer is lost, ``resend`` it or ``fail``.
    :param meisa_conn_id: the Airflow Connection.
    """

    template_fields: Sequence[str] = ("sequence_slug", "meisa_conn_id")
    operator_extra_links = (MeisaSequenceLink(),)
    ui_color = "#f3e8ff"

    def __init__(
        self,
        *,
        sequence_slug: str,
        override_unsubscribe: bool = False,
        max_failed: float | None = 0,
        max_invalid: float | None = None,
        on_empty: OnNo = "success",
        on_ambiguous: OnAmbiguous = "resend",
        meisa_conn_id: str = MeisaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sequence_slug = sequence_slug
        self.override_unsubscribe = override_unsubscribe
        self.max_failed = max_failed
        self.max_invalid = max_invalid
        self.on_empty = on_empty
        self.on_ambiguous = on_ambiguous
        self.meisa_conn_id = meisa_conn_id

    @abstractmethod
    def read(self, context: Context) -> Iterable[object]:
        """Return the addresses, read anew at each call and in the same order; a stream need not fit into memory.

        :raises MeisaInputError: if there is nothing that could be read.
        """

    def execute(self, context: Context) -> dict[str, object]:
        """Enroll the contacts and return the summary.

        :return: see `airflow_provider_meisa.api.outcomes.summary`.
        :raises AirflowSkipException: if there is no address and ``on_empty`` is ``skip``.
        :raises AirflowFailException: if too many addresses failed, and for what a retry cannot mend.
        :raises AirflowException: if Meisa cannot be asked.
        """
        with airflow_failures():
            check_choices(self, ON_NO, "on_empty")
            check_choices(self, ON_AMBIGUOUS, "on_ambiguous")
            check_limit("max_failed", self.max_failed)
            check_limit("max_invalid", self.max_invalid)
            source = self.read(context)
            hook = MeisaHook(self.meisa_conn_id)
            leave_link(context, hook, self.sequence_slug)
            account, stopped_by = self._perform(hook.get_conn(), source)
            context["ti"].xcom_push(key=XCOM_KEY, value=account)
            if stopped_by is not None:
                raise stopped_by
        self._conclude(account)
        return account

    def _perform(
        self, client: MeisaClient, source: Iterable[object]
    ) -> tuple[dict[str, object], MeisaError | None]:
        started = time.monotonic()
        run = Enrollment(batches(source), client.quota.reserve)
        while not isinstance(step := run.step(), Done):
            if isinstance(step, Wait):
                self.log.info("Meisa's rate limits leave no room: waiting %.1f s", step.seconds)
                client.wait(step.seconds)
            else:
                self._send(client, run, step)
        traffic = client.traffic
        account = summary(
            run.tally,
            sequence_slug=self.sequence_slug,
            complete=step.stopped_by is None,
            requests=traffic.requests,
            repeats=traffic.repeats,
            rate_limited=traffic.rate_limited,
            waited_s=traffic.waited,
            elapsed_s=time.monotonic() - started,
        )
        self.log.info(
            "%s: %s addresses: %s", self.sequence_slug, f"{run.tally.total:,}", in_words(run.tally.counts)
        )
        return account, step.stopped_by

    def _send(self, client: MeisaClient, run: Enrollment, send: Send) -> None:
        from airflow_provider_meisa.api import sequences

        try:
            reply = sequences.bulk_enroll(
                client,
                send.batch.addresses,
                self.sequence_slug,
                override_unsubscribe=self.override_unsubscribe,
                resend=self.on_ambiguous == "resend",
                slot=send.slot,
            )
        except MeisaError as error:
            self.log.warning("Batch %d was not taken: %s", send.batch.number + 1, error)
            run.refused(send, error)
            return
        counts = run.answered(reply)
        self.log.info(
            "Batch %d: %s; %s addresses so far",
            send.batch.number + 1,
            in_words(counts),
            f"{run.tally.total:,}",
        )
        if reply.unread:
            self.log.warning("Not understood in the answer: %s", "; ".join(reply.unread))

    def _conclude(self, account: Mapping[str, Any]) -> None:
        counts = {Verdict(name): count for name, count in account["counts"].items()}
        if not account["total"] and self.on_empty != "success":
            message = "There is no address to enroll."
            raise AirflowFailException(message) if self.on_empty == "fail" else AirflowSkipException(message)
        if found := objections(counts, max_failed=self.max_failed, max_invalid=self.max_invalid):
            raise AirflowFailException(
                f"{self.sequence_slug}: {'; '.join(found)}. The summary in XCom has the first of them under "
                "'attention'. Mend the addresses, or raise the limit."
            )


def check_choices(operator: BaseOperator, choices: Sequence[str], *names: str) -> None:
    """See that each of these attributes is one of the choices.

    :raises MeisaInputError: if one is not.
    """
    for name in names:
        if getattr(operator, name) not in choices:
            raise MeisaInputError(f"{name} must be one of: {', '.join(choices)}.")
