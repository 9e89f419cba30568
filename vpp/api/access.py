"""Who is asking: bearer tokens, roles, and patience with wrong tokens."""

import time
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from models.errors import AccessError
from models.life_cycle import transition
from models.records import UserRecord
from models.roles import Role
from vpp.api.facade import ServiceFacade
from vpp.security import FailureLimiter, owns, require, token_id_of

bearer = HTTPBearer(auto_error=False, description="A token from `vpp user add` or `vpp aggregator add`.")
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="vpp"'}
STAFF = (Role.OPERATOR, Role.APPROVER, Role.ENGINEER, Role.AUDITOR)
ALL = (*STAFF, Role.AGGREGATOR)


def service_of(request: Request) -> ServiceFacade:
    """The running service."""
    service: ServiceFacade = request.app.state.service
    return service


Service = Annotated[ServiceFacade, Depends(service_of)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


def _caller(request: Request, service: Service, credentials: Credentials) -> UserRecord:
    """The user to whom the token belongs; 401 without one, 429 after too many wrong ones."""
    if credentials is None:
        raise HTTPException(401, "this needs a token: send `Authorization: Bearer vpp_…`", CHALLENGE)
    token = credentials.credentials
    token_id = token_id_of(token)
    user = service.store.user_by_token_id(token_id) if token_id else None
    if user is not None and owns(user, token):
        return user  # however many others behind the same address have guessed: nobody is locked out
    service.metrics.auth_failures.labels(reason="token").inc()
    limiter: FailureLimiter = request.app.state.limiter
    address = request.client.host if request.client else "unknown"
    wait_s = limiter.wait_s(address, time.monotonic())
    if wait_s > 0:
        headers = {"Retry-After": str(int(wait_s) + 1)}
        raise HTTPException(429, "too many wrong tokens from this address: wait a moment", headers)
    limiter.note(address, time.monotonic())
    raise HTTPException(401, "the token is not valid", CHALLENGE)


Caller = Annotated[UserRecord, Depends(_caller)]


def allowed(*roles: Role) -> Any:
    """The dependency that lets these roles (and an admin) through and yields the user."""

    def check(service: Service, caller: Caller) -> UserRecord:
        try:
            require(caller, *roles)
        except AccessError:
            service.metrics.auth_failures.labels(reason="role").inc()
            raise
        return caller

    return Depends(check)


def allowed_to(verb: str) -> Any:
    """``allowed`` for whoever the life of an event lets take that step (``models.life_cycle``)."""
    return allowed(*sorted(transition(verb).roles))


def own_only(caller: UserRecord) -> str | None:
    """The aggregator to which everything is narrowed down, None for staff."""
    return caller.aggregator_id if caller.role is Role.AGGREGATOR else None
