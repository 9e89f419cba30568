"""The report in a real browser: drawn without script errors, without any request, in both languages."""

import functools
import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.vpp.result_days import day_result
from vpp.report.result_folder import write_result
from vpp.report.write import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"),
    *("--virtual-time-budget=8000", "--enable-logging=stderr", "--v=0", "--window-size=1300,3000"),
)


def browse(url: str, profile: Path, *more: str) -> tuple[str, str]:
    """The document as it stands after its scripts ran, and what the browser wrote to its console."""
    assert CHROMIUM
    done = subprocess.run(
        [CHROMIUM, *QUIET, f"--user-data-dir={profile}", *more, "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("result")
    write_result(folder, day_result(weak_hour=True))
    return write_report(folder)


@pytest.fixture
def served(report: Path) -> Iterator[tuple[str, list[str]]]:
    """The report over HTTP, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(report.parent)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/report.html", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_all_pictures_are_drawn_without_a_word_on_the_console(report: Path, tmp_path: Path) -> None:
    document, console = browse(report.as_uri(), tmp_path)
    assert console == ""
    assert 'data-ready="8"' in document
    assert len(re.findall(r'class="[^"]*js-plotly-plot', document)) == 8
    assert document.count('class="main-svg"') >= 8


def test_both_languages_are_there_and_one_can_be_chosen(report: Path, tmp_path: Path) -> None:
    document, _ = browse(report.as_uri(), tmp_path / "both")
    for words in ("指令与交付", "Order against delivery", "仿真", "SIMULATED", "低于 90 %", "below 90 %"):
        assert words in document
    english, console = browse(report.as_uri() + "#en", tmp_path / "en")
    assert 'data-language="en"' in english
    assert console == ""


def test_the_page_asks_nobody_for_anything(served: tuple[str, list[str]], tmp_path: Path) -> None:
    address, asked = served
    # Every host but ours resolves to nothing; whatever the page asked for of ours is in the server's log.
    document, console = browse(address, tmp_path, "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
    assert 'data-ready="8"' in document
    assert console == ""
    assert asked == ["/report.html"]
