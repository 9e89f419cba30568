"""The application: routes, errors, limits and their description put together."""

import asyncio

from fastapi import FastAPI
from starlette.middleware import Middleware

from vpp.api import closing, commands, events, history, live, planning, problems, resources
from vpp.api.facade import ServiceFacade
from vpp.api.limits import BodyLimit, Measured
from vpp.security import FailureLimiter

TAGS = [
    {
        "name": "events",
        "description": "Orders of the grid operator: declare, approve by a second person, call off.",
    },
    {"name": "settlement", "description": "Statements of events in versions: issued, published, disputed, settled."},
    {
        "name": "capacity",
        "description": "Connected, declared, tested and callable kW; what could be ordered.",
    },
    {"name": "plan", "description": "The plan in force: what is shown here is what is executed (same hash)."},
    {"name": "commands", "description": "What was sent to whom, of which plan, how often, and what was answered."},
    {"name": "resources", "description": "What aggregators have registered."},
    {"name": "aggregators", "description": "Sub-VPPs."},
    {"name": "readings", "description": "What was measured, and when."},
    {"name": "dead letters", "description": "Messages that broke their contract."},
    {"name": "audit", "description": "Who did what, in a chain of hashes."},
    {"name": "live", "description": "Server-sent events for screens."},
    {"name": "health", "description": "For machines; no token needed."},
]
DESCRIPTION = """Powers are kW and positive when consuming; energies kWh; times ISO 8601 with offset.
Errors are `application/problem+json` and point at the field. Every creating call needs an `Idempotency-Key`.
Lists come in pages: pass `next_cursor` as `cursor`."""


def create_app(service: ServiceFacade) -> FastAPI:
    """The HTTP interface of a running service."""
    settings = service.settings.http
    app = FastAPI(
        title=service.settings.service.name,
        version="1",
        description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its page loads scripts from elsewhere, and control rooms have no elsewhere
        redoc_url=None,
        redirect_slashes=False,  # the address to redirect to would come from the caller's Host header
        openapi_tags=TAGS,
        middleware=[
            Middleware(Measured, metrics=service.metrics),
            Middleware(BodyLimit, max_bytes=settings.max_body_bytes),
        ],
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    app.state.stopping = asyncio.Event()
    app.state.limiter = FailureLimiter(settings.auth_failures_per_minute)
    problems.install(app)
    app.include_router(live.public)
    parts = (events, closing, resources, planning, commands, history, live)
    for router in (part.router for part in parts):
        app.include_router(router)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """The schema of a problem stands in OpenAPI once."""
    made = app.openapi

    def openapi() -> dict[str, object]:
        schema = made()
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        described = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(described.pop("$defs", {}))
        schemas["Problem"] = described
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
