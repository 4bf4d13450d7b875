"""What the sandbox needs beyond the standard library."""

from __future__ import annotations

from importlib.util import find_spec

NEEDED = ("fastapi", "uvicorn")


class SandboxError(RuntimeError):
    """The sandbox cannot start or do as asked; the message says what to do."""


def missing_extra() -> str | None:
    """Say which libraries are missing and how to install them, or None if all are there."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if not missing:
        return None
    return (
        f"The sandbox needs {' and '.join(missing)}. "
        "Install what it needs with: pip install 'airflow-provider-meisa[sandbox]'"
    )
