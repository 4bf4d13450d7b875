"""A log of requests in the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lifecycle.models import RequestLog

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class RequestLogMiddleware:
    """Write down each request when it comes, and its status when the work is done."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        entry = RequestLog.objects.create(
            method=request.method or "", path=request.path, received_at=time.time()
        )
        response = self.get_response(request)
        RequestLog.objects.filter(id=entry.id).update(status=response.status_code, finished_at=time.time())
        return response
