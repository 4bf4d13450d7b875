"""When Airflow should try again: after the wait Meisa asks for, where it asks for one (Airflow 3.3 and later)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy

from airflow_provider_meisa.api.errors import MeisaBackOffError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_MARGIN = 1.0


class MeisaRetryPolicy(RetryPolicy):
    """Retries a task that met the rate limit or a 503 when Meisa takes requests again; else the task decides.

    What a retry cannot fix fails at once without it: the operators raise ``AirflowFailException``.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the error of ours behind an exception."""
        cause = exception if isinstance(exception, MeisaBackOffError) else exception.__cause__
        if isinstance(cause, MeisaBackOffError) and cause.retry_after is not None:
            return RetryDecision.retry(
                timedelta(seconds=cause.retry_after + _MARGIN), "Meisa takes requests again then"
            )
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return its settings: it has none."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> MeisaRetryPolicy:
        """Make it again."""
        return cls()


def provide_retry_policy(operator: Any) -> None:
    """Give a task this policy, unless its author has chosen one."""
    if getattr(operator, "retry_policy", None) is None:
        operator.retry_policy = MeisaRetryPolicy()
