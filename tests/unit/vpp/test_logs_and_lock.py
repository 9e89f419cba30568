import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from models.errors import InputError, VppError
from models.roles import Role
from tests.live import T0
from vpp.logs import configure_logging
from vpp.one_service import alone_in
from vpp.security import new_token


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, level = logging.getLogger().handlers, logging.getLogger().level
    yield
    logging.getLogger().handlers, logging.getLogger().level = root, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_ours_and_theirs_are_one_json_object_a_line_without_local_variables() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    structlog.get_logger("ours").info("plan", at=T0, name="第一")
    logging.getLogger("theirs").warning("lost %s", "it")
    logging.getLogger("theirs").debug("too quiet")

    def fail() -> None:
        password = "secret" + "-word"
        raise ValueError(len(password))

    try:
        fail()
    except ValueError:
        structlog.get_logger("ours").exception("failed")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["plan", "lost it", "failed"]
    assert [line["logger"] for line in lines] == ["ours", "theirs", "ours"]
    assert (lines[0]["at"], lines[0]["name"]) == (T0.isoformat(), "第一")
    assert "ValueError: 11" in lines[2]["exception"]
    assert "secret-word" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_nobody_can_forge_a_line(form: str) -> None:
    stream = io.StringIO()
    configure_logging(form, "info", stream)  # type: ignore[arg-type]
    structlog.get_logger("ours").info("gateway", reason="x\n2025 [error] forged\x1b[2J")
    logging.getLogger("theirs").warning("bad topic %s", "a\r\nforged")
    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b[2J" not in stream.getvalue()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("old thing", UserWarning, stacklevel=1)
    assert "old thing" in stream.getvalue().splitlines()[2]


def test_two_services_do_not_share_a_data_folder(tmp_path: Path) -> None:
    taken = pytest.raises(VppError, match=f"process {os.getpid()}")
    with alone_in(tmp_path / "data"), taken, alone_in(tmp_path / "data"):
        pytest.fail("two at once")
    with alone_in(tmp_path / "data"):
        assert (tmp_path / "data" / "serve.lock").read_text().strip() == str(os.getpid())


def test_nobody_is_called_as_the_service_calls_itself() -> None:
    with pytest.raises(InputError, match="the service itself"):
        new_token("service", Role.OPERATOR, T0)
