"""Check for the libraries that the sandbox needs."""

from __future__ import annotations

from importlib.util import find_spec

NEEDED = ("fastapi", "uvicorn")


class SandboxError(RuntimeError):
    """The sandbox cannot start; the message says what to do."""


def missing_extra() -> str | None:
    """Return which libraries are missing and how to install them, or None if all are installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if not missing:
        return None
    return (
        f"The sandbox needs {' and '.join(missing)}. "
        "Install the extra: pip install 'airflow-provider-meisa[sandbox]'"
    )
