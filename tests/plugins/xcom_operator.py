"""A task that pushes the XCom values of a test."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator


class XComOperator(BaseOperator):
    """Pushes the link that Meisa tasks push, and returns a value.

    :param link: what it leaves under the link's key.
    :param returns: what it returns; ``None`` leaves nothing.
    :param states: what it puts into its state store (Airflow 3.3).
    :param error: what it leaves under the key of an error; ``None`` leaves nothing.
    :param fails: whether it then fails.
    """

    def __init__(
        self,
        *,
        link: Any = "https://app.meisa.io",
        returns: Any = None,
        states: dict[str, Any] | None = None,
        error: Any = None,
        fails: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.link = link
        self.returns = returns
        self.states = states or {}
        self.error = error
        self.fails = fails

    def execute(self, context: Any) -> Any:
        context["ti"].xcom_push(key="meisa_dashboard", value=self.link)
        for key, value in self.states.items():
            context["task_state_store"].set(key, value)
        if self.error is not None:
            context["ti"].xcom_push(key="meisa_error", value=self.error)
        if self.fails:
            raise ValueError("it was asked to")
        return self.returns
