"""The solvers' clock: what it told is told again, and whoever asks for something else is told so."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import models.dispatch
from models.dispatch.highs_runs import packed, unpacked
from models.dispatch.solve_clock import Replay, ReplayError, RunNote, Tape, clock, going_by, look, taped
from models.dispatch.solve_record import Facts, SolveRecord, entries_of_tape, tape_facts

NOTES = st.builds(
    RunNote,
    st.integers(0, 2),
    st.integers(0, 20),
    st.floats(allow_nan=False),
    st.floats(allow_nan=False),
    st.integers(0, 10**9),
    st.binary(max_size=20),
)
ENTRIES = st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), st.one_of(st.integers(0, 2**52), NOTES)))


def record(tape: Facts, warm: Facts | None = None) -> SolveRecord:
    return SolveRecord("fast", {"small": 1}, 10.0, 1e-4, {"numpy": "1"}, Facts() if warm is None else warm, tape)


def test_only_the_clock_asks_the_machine_for_the_time() -> None:
    folder = Path(models.dispatch.__file__).parent
    asking = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            asking |= {path.name for name in names if name == "time"}
    assert asking == {"solve_clock.py"}


def test_a_look_is_told_again_to_the_last_bit() -> None:
    with taped() as tape:
        looks = [look("first"), look("second"), look("first")]
    replay = Replay(entries_of_tape(tape_facts(tape)))
    with going_by(replay):
        assert [look("first"), look("second"), look("first")] == looks
    replay.finish()


def test_a_replay_keeps_to_its_tape_and_makes_none() -> None:
    with going_by(Replay([("first", 1_500_000)])), taped() as tape:
        assert look("first") == 1.5
    assert tape.entries == []


def test_who_asks_for_something_else_is_told_so() -> None:
    replay = Replay([("first", 1), ("run", RunNote(0, 7, 1.0)), ("second", 2), ("run", RunNote(0, 7, 1.0))])
    with going_by(replay):
        look("first")
        with pytest.raises(ReplayError, match=r"step 2 of 4.*looks at the time \(run\)"):
            look("run")
        with pytest.raises(ReplayError, match="step 3 of 4: the solve asks for 'third', recorded was 'second'"):
            look("third")
        with pytest.raises(ReplayError, match="goes on for 1 of 4 steps"):
            replay.finish()
        assert clock().noted("run") == RunNote(0, 7, 1.0)
        with pytest.raises(ReplayError, match=r"a run of HiGHS \(run\) ended with"):
            clock().note("run", RunNote(0, 7, 1.0 + 1e-15))
        with pytest.raises(ReplayError, match="the record is over after 4 steps"):
            look("first")


@given(entries=ENTRIES)
def test_a_tape_survives_its_bytes(entries: list[tuple[str, int | RunNote]]) -> None:
    data = record(tape_facts(Tape(entries))).to_bytes()
    assert entries_of_tape(SolveRecord.from_bytes(data).tape) == entries


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_changed_bit_of_a_record_is_noticed(place: int, bit: int) -> None:
    data = bytearray(record(tape_facts(Tape([("first", 12), ("run", RunNote(2, 13, 1.0, 0.5, 3, b"abc"))]))).to_bytes())
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(ReplayError, match="SHA-256"):
        SolveRecord.from_bytes(bytes(data))


def test_a_record_keeps_its_arrays_and_what_it_says() -> None:
    warm = Facts({"shape": [2, 3]}, {"status": np.arange(6, dtype="|u1"), "values": np.array([[0.1, np.inf]])})
    found = SolveRecord.from_bytes(record(tape_facts(Tape()), warm).to_bytes())
    assert (found.solver, found.options, found.deadline_s, found.gap) == ("fast", {"small": 1}, 10.0, 1e-4)
    assert found.warm.said == {"shape": [2, 3]}
    assert found.warm.arrays["status"].tolist() == list(range(6))
    assert found.warm.arrays["values"].tolist() == [[0.1, np.inf]]


@given(values=st.one_of(st.lists(st.integers(0, 1)), st.lists(st.integers(-(2**31), 2**31 - 1))))
def test_integers_survive_their_bytes_and_a_wrong_number_of_them_is_noticed(values: list[int]) -> None:
    data = packed(np.array(values, dtype=np.float64))
    assert unpacked(data, len(values)).tolist() == values
    with pytest.raises(ReplayError, match="integers take"):
        unpacked(data, len(values) + 8)
