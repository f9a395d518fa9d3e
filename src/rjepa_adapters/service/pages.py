"""What people see in a browser: the page, the endpoints' description, and a page for 404."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles

from . import problem_details as problems
from .bodies import JSON

_PAGE = Path(str(files(__package__))) / "page"
_SWAGGER = Path(fastapi_offline.__file__).parent / "static"
_HTML = "text/html"


def add(app: FastAPI) -> None:
    """Add the pages to the application; they need no asset of another host."""

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(_PAGE / "index.html")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return FileResponse(_PAGE / "icon.svg")

    app.mount("/page", StaticFiles(directory=_PAGE), name="page")
    app.mount("/docs/assets", StaticFiles(directory=_SWAGGER), name="docs")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="R-JEPA: endpoints",
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon.png",
        )

    @app.get(problems.PAGE, include_in_schema=False)
    async def kinds() -> Response:
        return PlainTextResponse(problems.page())


def not_found() -> Response:
    """Return the page for an address that does not exist."""
    return FileResponse(_PAGE / "404.html", 404, headers={"vary": "accept"})


def wants_html(request: Request) -> bool:
    """Return whether the caller names HTML as what it prefers, as browsers do, to JSON."""
    wanted = dict.fromkeys((_HTML, JSON, problems.MEDIA), 0.0)
    for one in request.headers.get("accept", "").lower().split(","):
        media, *parameters = (part.strip() for part in one.split(";"))
        if media in wanted:
            wanted[media] = _quality(parameters)
    html = wanted.pop(_HTML)
    return html > 0 and html >= max(wanted.values())


def _quality(parameters: list[str]) -> float:
    for one in parameters:
        name, _, value = one.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
