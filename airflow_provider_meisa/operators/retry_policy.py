"""The retry policy: retry after the wait that Meisa asks for, if it does (Airflow 3.3 and later)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy

from airflow_provider_meisa.api.errors import MeisaBackOffError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_MARGIN = 1.0


class MeisaRetryPolicy(RetryPolicy):
    """Retries a task after a rate limit or a 503 when Meisa takes requests again; else the task's parameters apply.

    If a retry cannot help, the operators raise ``AirflowFailException``, which fails the task at once.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the `MeisaError` that caused an exception."""
        cause = exception if isinstance(exception, MeisaBackOffError) else exception.__cause__
        if isinstance(cause, MeisaBackOffError) and cause.retry_after is not None:
            return RetryDecision.retry(
                timedelta(seconds=cause.retry_after + _MARGIN), "Meisa takes requests again then"
            )
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return its settings, which are empty."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> MeisaRetryPolicy:
        """Create the policy from its settings."""
        return cls()


def provide_retry_policy(operator: Any) -> None:
    """Give a task this policy, unless the DAG sets one."""
    if getattr(operator, "retry_policy", None) is None:
        operator.retry_policy = MeisaRetryPolicy()
