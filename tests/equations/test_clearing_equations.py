"""The clearing model is the one in its docstring, number by number, and the golden one.

``VPP_WRITE_GOLDEN=1 pytest tests/equations`` writes the golden file anew; read the difference before you commit it.
"""

import os
import re
from pathlib import Path
from typing import Any

import pyomo.environ as pyo
import pytest

from models.clearing.book import Book, open_book, order_of_bids
from models.clearing.model import build_clearing
from tests.unit.models.clearing.markets import area, bid, market

GOLDEN = Path(__file__).parent / "golden" / "clearing.lp"


def book() -> Book:
    """Two areas, one in the other; two equal minimums, one of two steps, one offer without: every row there is."""
    asked = market(
        100,
        [
            bid("a", (0.5, 30), (0.7, 50), zone="X", minimum_kw=20),
            bid("b", (0.4, 60), zone="Y", minimum_kw=60, minute=1),
            bid("c", (0.4, 60), zone="Y", minimum_kw=60, minute=2),
            bid("d", (0.9, 40), zone="Z", minute=3),
        ],
        area("section", "X", "Y", least=30, most=90),
        area("feeder", "X", most=40),
    )
    return open_book(asked, asked.needs[0], order_of_bids(asked))


def constraints(model: Any) -> list[tuple[str, str]]:
    return [(each.local_name, each.doc) for each in model.component_objects(pyo.Constraint, descend_into=False)]


def test_every_numbered_equation_is_in_the_model_and_every_constraint_in_the_docstring() -> None:
    found = constraints(build_clearing(book()))
    numbers = re.findall(r"^ *\(([A-Z]\d+)\) ", build_clearing.__doc__ or "", flags=re.MULTILINE)
    assert [f"({local})" for local, _ in found] == [doc for _, doc in found]
    assert [local for local, _ in found] == numbers == ["C1", "C2", "C3", "C4", "C5"]


def test_every_variable_of_the_model_is_in_the_table_of_symbols() -> None:
    table = build_clearing.__doc__ or ""
    for variable in build_clearing(book()).component_objects(pyo.Var, descend_into=False):
        assert f"{variable.local_name}[" in table


def test_the_written_model_is_the_golden_one(tmp_path: Path) -> None:
    written = tmp_path / "clearing.lp"
    build_clearing(book()).write(str(written), io_options={"symbolic_solver_labels": True})
    if os.environ.get("VPP_WRITE_GOLDEN"):
        GOLDEN.write_bytes(written.read_bytes())
    assert written.read_text(encoding="utf-8") == GOLDEN.read_text(encoding="utf-8")


def test_the_model_without_minimums_has_no_binary() -> None:
    asked = market(10, [bid("a", (0.5, 30))])
    model = build_clearing(open_book(asked, asked.needs[0], order_of_bids(asked)))
    assert not list(model.is_accepted.values())
    assert pyo.value(model.C1[0].lower) == pytest.approx(10)
