"""The Pipeline Monitor in Airflow's navigation: the files of pipeline_monitor/ and what etl.monitoring.page reads.

Airflow puts no login before a plugin's application: every route here asks for one itself, with the right to read
plugins that the page's entry in the navigation needs too (of the standard roles Op and Admin have it). The page
triggers nothing through these routes: it calls Airflow's own REST API with the user's session, and asks
``may-trigger`` whether to offer that at all.

Every process of Airflow imports its plugins, but the API server alone asks for the application: what that needs of
the API is imported then. It cost scheduler and triggerer half a second of CPU each.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response
from fastapi.responses import FileResponse

if TYPE_CHECKING:
    from etl.monitoring.page import Monitor

PAGE = Path(__file__).with_suffix("")
FILES = {
    "app.js": "text/javascript",
    "app.css": "text/css",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
}
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}

routes = APIRouter()


@routes.get("/")
def page() -> FileResponse:
    return FileResponse(PAGE / "index.html", headers=HEADERS)


@routes.get("/files/{name}")
def file(name: str) -> FileResponse:
    if name not in FILES:
        raise HTTPException(404)
    return FileResponse(PAGE / name, media_type=FILES[name], headers=HEADERS)


@routes.get("/sections/{name}")
def section(name: str) -> Response:
    """One section as JSON; a store that is down is a state of it, not an error."""
    import msgspec

    try:
        answer = monitor().section(name)
    except KeyError:
        raise HTTPException(404) from None
    return Response(
        msgspec.json.encode(answer), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


@routes.get("/data-docs/{path:path}")
def data_docs(path: str) -> FileResponse:
    """The pages of the nightly audit. They show words of venues: sandboxed, no script runs, no form is sent, and they
    belong to no origin, least of all to Airflow's."""
    from etl import settings
    from etl.audit.data_docs import POLICY
    from etl.audit.expectations import data_docs_path

    folder = data_docs_path(settings.load()).resolve()
    wanted = (folder / (path or "index.html")).resolve()
    if not wanted.is_relative_to(folder) or not wanted.is_file():
        raise HTTPException(404, "no Data Docs yet: audit_data writes them")
    sandbox = {"Content-Security-Policy": f"sandbox; {POLICY}; frame-ancestors 'none'"}
    return FileResponse(wanted, headers=HEADERS | sandbox)


def may_trigger(dag_id: str) -> None:
    """204 for who may trigger this DAG, 403 for others."""


def application() -> FastAPI:
    from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_dag, requires_access_view

    app = FastAPI(
        title="Pipeline Monitor",
        dependencies=[Depends(requires_access_view(AccessView.PLUGINS))],
        openapi_url=None,  # its routes would be open
    )
    app.include_router(routes)
    may_run = Depends(requires_access_dag("POST", DagAccessEntity.RUN))
    app.get("/may-trigger/{dag_id}", dependencies=[may_run], status_code=204)(may_trigger)
    return app


@functools.cache
def monitor() -> Monitor:
    """Made at the first question: importing a plugin must cost nothing."""
    from etl import settings
    from etl.monitoring.page import Monitor

    return Monitor(settings.load())


class PipelineMonitor(AirflowPlugin):
    name = "pipeline_monitor"
    external_views: list[Any] = [
        {
            "name": "Pipeline Monitor",
            "href": "pipeline-monitor/",
            "url_route": "pipeline_monitor",
            "destination": "nav",
        }
    ]

    @functools.cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        return [{"app": application(), "url_prefix": "/pipeline-monitor", "name": "Pipeline Monitor"}]
