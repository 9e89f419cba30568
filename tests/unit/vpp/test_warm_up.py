"""The oracles are ready before a solve needs them, and only one process compiles."""

import fcntl
import threading
import time
from pathlib import Path

from numba.core import event
from typer.testing import CliRunner

from models.dispatch.fast.admitted import admit_columns
from models.dispatch.fast.coupling import Classes
from models.dispatch.fast.pricing.pv import sweep_pv
from models.dispatch.fast.pricing.registry import PRICERS
from models.dispatch.fast.setting import Setting
from models.dispatch.fast.shards import blocks_of
from models.dispatch.fast.solve import FastSolver
from vpp.cli.main import app
from vpp.example_portfolio import example_problem
from vpp.warm_up import EVERY_KIND, ready_oracles


def test_the_example_has_a_row_for_every_oracle() -> None:
    problem = example_problem(EVERY_KIND)
    tables, _ = admit_columns(problem)
    blocks = blocks_of(problem, tables, Classes.of(problem, tables), Setting.of(problem))
    assert {block.pricer.name for block in blocks if len(block)} == {pricer.name for pricer in PRICERS}


def test_the_command_for_make_is_not_in_the_overview_and_silent_when_there_is_nothing_to_do() -> None:
    ready_oracles()
    assert "warm-up" not in CliRunner().invoke(app, ["--help"]).output
    done = CliRunner().invoke(app, ["warm-up"])
    assert (done.exit_code, done.output) == (0, "")


class Counting(event.Listener):
    """What numba compiles while it listens."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_start(self, event: event.Event) -> None:
        self.names.append(str(event.data["dispatcher"]))

    def on_end(self, event: event.Event) -> None:
        """Nothing to do."""


def test_after_it_nothing_is_compiled_neither_by_it_nor_by_a_solve() -> None:
    ready_oracles()
    told: list[str] = []
    assert ready_oracles(told.append) == 0
    assert told == []
    counting = Counting()
    with event.install_listener("numba:compile", counting):
        FastSolver(small=0).solve(example_problem(40), deadline_s=60, gap=0.05)
    assert counting.names == []


def test_it_waits_for_whoever_is_compiling_and_says_so() -> None:
    folder = Path(sweep_pv.stats.cache_path).parent  # type: ignore[attr-defined]
    told: list[str] = []
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=ready_oracles, args=(told.append,))
        waiting.start()
        until = time.monotonic() + 30
        while not told and time.monotonic() < until:
            time.sleep(0.02)
        assert told == ["waiting for another process that compiles the pricing oracles"]
        assert waiting.is_alive()
        fcntl.flock(lock, fcntl.LOCK_UN)
        waiting.join(60)
        assert not waiting.is_alive()
