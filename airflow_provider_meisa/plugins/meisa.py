"""The plugin that adds a page and a tab to the Airflow UI. It is light, because every Airflow process imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowPlugin, conf

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

NAME = "Meisa"
PREFIX = "/meisa"


class AppOnDemand:
    """Creates the plugin's FastAPI app at the first request: importing FastAPI would cost every task a second."""

    def __init__(self) -> None:
        self._app: Callable[..., Awaitable[None]] | None = None

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        """Handle a request (ASGI 3)."""
        if self._app is None:
            from airflow_provider_meisa.plugins.app import make_app

            self._app = make_app()
        await self._app(scope, receive, send)


def _react_app(destination: str, url_route: str) -> dict[str, str]:
    """Describe a place in the UI that the JavaScript module fills. Its URL starts with the API server's base path."""
    static = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/") + f"{PREFIX}/static"
    return {
        "name": NAME,
        "destination": destination,
        "url_route": url_route,
        "bundle_url": f"{static}/meisa.js",
    }


class MeisaPlugin(AirflowPlugin):
    """A page in the navigation and a tab on task instances. Before Airflow 3.1, the UI has no place for them."""

    name = "meisa"
    if hasattr(AirflowPlugin, "react_apps"):
        fastapi_apps = [{"app": AppOnDemand(), "url_prefix": PREFIX, "name": NAME}]
        react_apps = [_react_app("nav", "meisa"), _react_app("task_instance", "meisa-run")]
