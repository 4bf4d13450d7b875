"""Programs of the system that some tests start."""

from __future__ import annotations

import shutil


def find_program(*names: str) -> str | None:
    """Return where the first of these programs is that is installed; a name may be a whole path."""
    return next(filter(None, map(shutil.which, names)), None)


def require_program(*names: str, package: str) -> str:
    """Return where a program is; a test that needs it fails without it."""
    program = find_program(*names)
    assert program, f"{names[0]} is not installed: apt-get install {package}"
    return program
