"""What goes wrong in the middle of the work; a test places it in the database."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from lifecycle.models import Fault

if TYPE_CHECKING:
    from rest_framework.request import Request

_LONGEST_HOLD = 30.0
_POLL = 0.02


class LostWorkError(Exception):
    """A programming error on the server: Django makes a 500 of it."""


def reach(request: Request, endpoint: str, point: str) -> None:
    """Meet what a test has placed here: ``before`` the work, ``between`` look and insert, or ``after`` it.

    ``hold`` works on only when the test says so, ``slow`` after some seconds at the latest, ``drop`` closes the
    connection, ``fail`` raises.
    """
    for fault in Fault.objects.filter(endpoint=endpoint, point=point, met=False).order_by("id"):
        if Fault.objects.filter(id=fault.id, met=False).update(met=True):
            _suffer(fault, request)
            return


def _suffer(fault: Fault, request: Request) -> None:
    match fault.kind:
        case "hold":
            _wait(fault, _LONGEST_HOLD)
        case "slow":
            _wait(fault, fault.seconds)
        case "drop":
            request.META["gunicorn.socket"].shutdown(socket.SHUT_RDWR)
        case "fail":
            raise LostWorkError
        case kind:
            raise ValueError(kind)


def _wait(fault: Fault, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and Fault.objects.filter(id=fault.id, released=False).exists():
        time.sleep(_POLL)
