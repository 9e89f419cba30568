"""Logs into a file, so that the screen stays readable."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog


@contextmanager
def quiet_logs(out: Path) -> Iterator[None]:
    """Logs go into a file of the result folder, so that the screen stays readable."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "log.jsonl").open("w", encoding="utf-8") as file:
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(),
            ],
            logger_factory=structlog.PrintLoggerFactory(file),
        )
        handler = logging.StreamHandler(file)
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
            structlog.reset_defaults()
