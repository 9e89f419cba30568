"""Errors as ``application/problem+json`` (RFC 9457): what is wrong, where, and which rule says so."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from models.errors import AccessError, EventStateError, InputError, RegistrationError, StoreError, VppError

log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Not possible in this state",
    413: "Too large",
    422: "Invalid input",
    429: "Too many attempts",
    500: "Internal error",
    503: "Temporarily unavailable",
}


class Fault(BaseModel):
    """One broken rule: ``pointer`` is a JSON pointer into the body, or names the parameter."""

    pointer: str
    field: str
    value: Any = None
    rule: str


class Problem(BaseModel):
    """The form of every error."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    retryable: bool = False
    errors: list[Fault] = []


def problem(
    status: int,
    detail: str,
    *,
    errors: Sequence[Fault] = (),
    retryable: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem as a response."""
    title = TITLES.get(status, "Error")
    made = Problem(title=title, status=status, detail=detail, retryable=retryable, errors=list(errors))
    return JSONResponse(made.model_dump(mode="json"), status, dict(headers or {}), MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route in OpenAPI."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {status: {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


def pointer(parts: Sequence[str | int]) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def shown(value: Any) -> Any:
    """A value as it may stand in an answer: short, and JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:200].encode("utf-8", "backslashreplace").decode()


def _validation(error: RequestValidationError) -> Response:
    faults = []
    for each in error.errors():
        where, *parts = each["loc"]
        place = pointer(parts) if where == "body" else f"{where}:{'.'.join(map(str, parts))}"
        rule = each["msg"].removeprefix("Value error, ")
        value = None if each["type"] == "missing" else each.get("input")
        if where == "header" and str(parts[0]).lower() == "authorization":
            value = None
        field = str(parts[-1]) if parts else str(where)
        faults.append(Fault(pointer=place, field=field, value=shown(value), rule=rule))
    detail = "; ".join(f"{fault.field}: {fault.rule}" for fault in faults[:3])
    return problem(422, detail or "the request is not valid", errors=faults)


def _input(error: InputError) -> Response:
    faults = [
        Fault(
            pointer=pointer(fault.field.split(".")),
            field=fault.field,
            value=shown(fault.value),
            rule=fault.rule,
        )
        for fault in error.faults
    ]
    return problem(422, str(error), errors=faults)


def answer_to(error: VppError) -> Response:
    """Our own errors, each with its status."""
    match error:
        case InputError():
            return _input(error)
        case RegistrationError():
            fault = Fault(pointer=f"/{error.field}", field=error.field, value=shown(error.value), rule=error.rule)
            return problem(422, str(error), errors=[fault])
        case AccessError():
            return problem(403, str(error))
        case EventStateError():
            return problem(409, str(error))
        case StoreError():
            log.error("the database failed a request", error=str(error))
            return problem(
                503,
                "the database did not answer as it should: try again",
                retryable=True,
                headers={"Retry-After": "5"},
            )
        case _:
            status = 503 if error.retryable else 500
            return problem(status, str(error), retryable=error.retryable)


def install(app: FastAPI) -> None:
    """Every error of the application leaves as a problem."""

    @app.exception_handler(RequestValidationError)
    async def on_validation(_request: Request, error: RequestValidationError) -> Response:
        return _validation(error)

    @app.exception_handler(HTTPException)
    async def on_http(_request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(VppError)
    async def on_ours(_request: Request, error: VppError) -> Response:
        return answer_to(error)

    @app.exception_handler(Exception)
    async def on_anything_else(request: Request, error: Exception) -> Response:
        log.error("a request failed", path=request.url.path, exc_info=error)
        return problem(500, "something went wrong on our side; it has been logged")
