"""One measurement, one process: peaks of memory are its own, compiled code is its own, and it can be stopped."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from models.errors import VppError

_GRACE_S = 5.0


def alone(work: Callable[..., dict[str, Any]], *arguments: Any, limit_s: float | None = None) -> dict[str, Any]:
    """What ``work`` returns in a fresh process; ``{"failed": why}`` if it raises one of our errors, ends or takes
    longer than ``limit_s``.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, work, arguments), name="vpp-bench")
    process.start()
    sender.close()
    try:
        if not receiver.poll(limit_s):
            return {"failed": f"stopped after {limit_s:.0f} s"}
        answer: dict[str, Any] = receiver.recv()
        return answer
    except EOFError:
        process.join(_GRACE_S)
        return {"failed": f"process ended with code {process.exitcode}"}
    finally:
        receiver.close()
        process.join(_GRACE_S)
        if process.is_alive():
            process.kill()
            process.join()


def _run(sender: Connection, work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> None:
    try:
        answer = work(*arguments)
    except (VppError, MemoryError) as error:
        answer = {"failed": f"{type(error).__name__}: {error}"}
    sender.send(answer)
    sender.close()
