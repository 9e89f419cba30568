"""Work in a process of its own.  Each process imports this file: it imports no more than it needs."""

import os
import time
from typing import Any

from models.errors import DeadlineError
from vpp.bench.alone import alone


def _works(value: float) -> dict[str, Any]:
    return {"pid": os.getpid(), "value": value}


def _too_late() -> dict[str, Any]:
    raise DeadlineError(3.0)


def _dies() -> dict[str, Any]:
    os._exit(7)


def _sleeps() -> dict[str, Any]:
    time.sleep(60)
    return {}


def test_work_alone_has_a_process_of_its_own() -> None:
    answer = alone(_works, 2.5, limit_s=60)
    assert answer["value"] == 2.5
    assert answer["pid"] != os.getpid()


def test_who_fails_dies_or_does_not_end_is_told_by_name() -> None:
    assert "DeadlineError" in alone(_too_late, limit_s=60)["failed"]
    assert alone(_dies, limit_s=60)["failed"] == "process ended with code 7"
    began = time.monotonic()
    assert alone(_sleeps, limit_s=1)["failed"] == "stopped after 1 s"
    assert time.monotonic() - began < 30
