"""``Idempotency-Key``: a creating request that is sent twice creates once and gets the first answer again."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Header, HTTPException, Request, Response
from pydantic import BaseModel

from models.errors import InputError, InputFault
from models.records import IdempotentAnswer, UserRecord
from vpp.api.facade import ServiceFacade

IdempotencyKey = Annotated[
    str,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Any unique word; sent again with the same request, nothing happens twice.",
    ),
]


class Once:
    """Runs creating requests once per caller and key."""

    def __init__(self) -> None:
        self._running: set[tuple[str, str]] = set()

    async def run(
        self,
        request: Request,
        service: ServiceFacade,
        caller: UserRecord,
        key: str,
        create: Callable[[], Awaitable[BaseModel]],
    ) -> Response:
        """The answer to ``create`` (201), or the answer that was given to the same request before."""
        owner = f"{caller.token_id}"
        body = await request.body()
        facts = f"{request.method} {request.url.path}\n".encode() + body
        fingerprint = hashlib.sha256(facts).hexdigest()
        if (owner, key) in self._running:
            raise HTTPException(409, "the same request is being worked on: wait for its answer")
        self._running.add((owner, key))
        try:
            known = await asyncio.to_thread(service.store.idempotent_answer, owner, key)
            if known is None:
                made = await create()
                known = IdempotentAnswer(fingerprint, 201, made.model_dump_json().encode())
                now = service.clock.now()
                await asyncio.to_thread(service.store.remember_idempotent, owner, key, known, now)
                return Response(known.body, known.status, media_type="application/json")
        finally:
            self._running.discard((owner, key))
        if known.fingerprint != fingerprint:
            rule = "was used for a different request: choose a new one"
            raise InputError([InputFault("header", "Idempotency-Key", key, rule)])
        replayed = {"Idempotent-Replayed": "true"}
        return Response(known.body, known.status, replayed, media_type="application/json")


def stable_id(caller: UserRecord, key: str) -> str:
    """The same short name for the same caller and key: a crash before the answer creates no twin."""
    return hashlib.sha256(f"{caller.token_id} {key}".encode()).hexdigest()[:8]
