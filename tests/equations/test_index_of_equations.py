"""The indexes in the READMEs of ``models`` name every numbered equation with its file, and no other."""

import ast
import re
from pathlib import Path

import pytest

MODELS = Path(__file__).resolve().parents[2] / "models"


def numbered(file: Path) -> set[str]:
    """Equations that a file's docstrings define: a line that begins with their number."""
    nodes = ast.walk(ast.parse(file.read_text()))
    texts = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, ast.Module | ast.FunctionDef)]
    return {number for text in texts for number in re.findall(r"^ +\(([A-Z]\d+)\)  ", text, re.MULTILINE)}


def listed(readme: Path) -> dict[Path, set[str]]:
    """Equations by file, from rows that name both: ``| `reference/loads.py` | C1-C10, I1-I9 | …``."""
    found = {}
    for row in re.findall(r"^\|.*\|$", readme.read_text(), re.MULTILINE):
        file, spans = re.search(r"`([\w/]+\.py)`", row), re.findall(r"\b([A-Z])(\d+)-\1(\d+)\b", row)
        if file and spans:
            numbers = {f"{letter}{n}" for letter, low, high in spans for n in range(int(low), int(high) + 1)}
            found[readme.parent / file[1]] = numbers
    return found


@pytest.mark.parametrize("file", sorted(MODELS.rglob("*.py")), ids=lambda file: str(file.relative_to(MODELS)))
def test_the_index_names_the_equations_of(file: Path) -> None:
    index = {**listed(MODELS / "README.md"), **listed(MODELS / "dispatch" / "README.md")}
    assert index.get(file, set()) == numbered(file)
