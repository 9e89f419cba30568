"""Logging of a process: our structured lines and the adapters' plain ones in one form, on standard error.

``json``: one object a line, for collectors; ``console``: for eyes.  Tracebacks never hold local variables (they may
be secrets), and no value can forge a line: control characters are escaped.
"""

import logging
import sys
from datetime import date
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]
_TALKATIVE = ("alembic", "amqtt", "aiomqtt", "asyncio", "httpcore", "httpx", "mqtt", "transitions", "uvicorn", "pyomo")
_ESCAPED = {code: repr(chr(code))[1:-1] for code in (*range(32), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029)}


def _one_line(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    for name, value in line.items():
        if isinstance(value, date):
            line[name] = value.isoformat()
        elif isinstance(value, str) and name != "exception" and not value.isprintable():
            line[name] = value.translate(_ESCAPED)
    return line


def configure_logging(form: LogFormat = "auto", level: LogLevel = "info", stream: TextIO | None = None) -> None:
    """Let every logger of this process write to ``stream`` (standard error); ``auto`` is console on a terminal."""
    out = sys.stderr if stream is None else stream
    console = form == "console" or (form == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _one_line, *renderers],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
