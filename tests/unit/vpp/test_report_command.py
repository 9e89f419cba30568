import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.errors import InputError
from tests.unit.vpp.result_days import day_result
from vpp.cli.main import app
from vpp.cli.report import find_result
from vpp.report.result_folder import write_result


def test_the_command_finds_a_folder_or_an_event_and_prints_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "var" / "demo"
    write_result(folder, day_result())
    (tmp_path / "var" / "plan").mkdir()
    (tmp_path / "var" / "plan" / "summary.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for wanted in (str(folder), "chengdu-evening", "demo"):
        done = CliRunner().invoke(app, ["report", wanted, "--json"])
        assert done.exit_code == 0, done.output
        assert Path(json.loads(done.output)["report"]).name == "report.html"
    assert (folder / "report.html").stat().st_size > 1e6
    with pytest.raises(InputError, match="must be a result folder"):
        find_result("nothing-like-it")
