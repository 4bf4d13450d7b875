"""The web application: the API, the control API and the page, with one shared state."""

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from airflow_provider_meisa.sandbox.control import control_api
from airflow_provider_meisa.sandbox.endpoints import PREFIX
from airflow_provider_meisa.sandbox.handler import handle
from airflow_provider_meisa.sandbox.page import page
from airflow_provider_meisa.sandbox.world import World

_METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


def create_app(world: World) -> FastAPI:
    """Return the application. FastAPI's documentation pages are off, because they load scripts from other hosts."""
    app = FastAPI(
        title="Meisa sandbox", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.include_router(control_api(world))

    @app.get("/")
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page(world))

    @app.api_route(f"{PREFIX}/{{path:path}}", methods=_METHODS)
    async def respond(request: Request) -> Response:
        return await handle(world, request)

    @app.exception_handler(ValueError)
    async def explain(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 400)

    return app
