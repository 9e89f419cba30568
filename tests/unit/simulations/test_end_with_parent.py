"""Workers of a bench that is killed do not go on alone."""

import subprocess
import sys
import time
from pathlib import Path

WORK = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.managers import SyncManager
from simulations.end_with_parent import end_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_with_parent)
    manager = SyncManager(ctx=get_context("spawn"))
    manager.start(end_with_parent)
    print(pool.submit(os.getpid).result(), manager._process.pid, flush=True)
    pool.submit(time.sleep, 600)
    time.sleep(600)
"""


def is_running(pid: int) -> bool:
    """A process that has ended and that nobody has asked for yet is a zombie, not running."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "bench.py"
    script.write_text(WORK, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(each) for each in parent.stdout.readline().split()]
        assert all(map(is_running, workers))
        parent.kill()
    until = time.monotonic() + 20
    while any(map(is_running, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(is_running, workers))
