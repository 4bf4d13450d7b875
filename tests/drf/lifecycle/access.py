"""Who may do what, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.throttling import SimpleRateThrottle

from lifecycle.models import ApiKey
from lifecycle.switches import switch

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView  # which imports this module by its name in the settings


class ApiKeyAuthentication(BaseAuthentication):
    """The header ``X-API-Key``."""

    def authenticate(self, request: Request) -> tuple[ApiKey, None] | None:
        given = request.headers.get("X-API-Key")
        if not given:
            return None
        key = ApiKey.objects.filter(key=given).first()
        if key is None:
            raise AuthenticationFailed("Invalid API key.")
        return key, None

    def authenticate_header(self, request: Request) -> str | None:
        """Return a challenge; a class without this method gives none, and DRF responds with 403 then."""
        return "X-API-Key" if switch("wrong_key_status") == 401 else None


class HasScope(BasePermission):
    """The key has the scope that the view names, or the view names none."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.user is None:
            return False
        scope = getattr(view, "scope", None)
        self.message = f"This API key lacks the scope {scope}."
        return scope is None or scope in request.user.scopes


class KeyThrottle(SimpleRateThrottle):
    """So many requests of a key in a window."""

    def get_rate(self) -> str:
        rate: str = switch(f"{self.scope}_rate")
        return rate

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        return None if request.user is None else f"throttle.{self.scope}.{request.user.pk}"


class MinuteThrottle(KeyThrottle):
    """60 a minute."""

    scope = "minute"


class HourThrottle(KeyThrottle):
    """1,000 an hour."""

    scope = "hour"
