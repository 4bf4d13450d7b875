"""Programs of the system that some tests start."""

from __future__ import annotations

import os
import shutil

import pytest


def find_program(*names: str) -> str | None:
    """Return where the first of these programs is that is installed; a name may be a whole path."""
    return next(filter(None, map(shutil.which, names)), None)


def require_program(*names: str, package: str) -> str:
    """Return where a program is; without it skip the test, but fail it in CI, where `.ci/run` installs the package."""
    program = find_program(*names)
    if program is None and not os.environ.get("CI"):
        pytest.skip(f"{names[0]} is not installed: install the package {package}")
    assert program, f"{names[0]} is not installed: apt-get install {package}"
    return program
