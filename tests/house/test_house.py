"""The house itself: the lock, the import rules, the wheel and what lies at the top level."""

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HOUSE = Path(__file__).resolve().parents[2]
PACKAGES = ("adapters", "models", "simulations", "vpp")
TOP_LEVEL = {
    *PACKAGES,
    *(
        ".ci",
        ".editorconfig",
        ".gitignore",
        "Makefile",
        "deploy",
        "pyproject.toml",
        "requirements.lock",
        "tests",
    ),
    *("CHANGELOG.md", "CONTRIBUTING.md", "DECISIONS.md", "LICENSE", "README.md", "SECURITY.md"),
}


def project() -> dict:
    return tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]


def runtime_requirements() -> list[Requirement]:
    extras = project()["optional-dependencies"]
    return [
        Requirement(text)
        for name, texts in {"": project()["dependencies"], **extras}.items()
        if name != "dev"
        for text in texts
    ]


def all_requirements() -> list[Requirement]:
    return runtime_requirements() + [Requirement(text) for text in project()["optional-dependencies"]["dev"]]


def locked() -> list[tuple[Requirement, list[str]]]:
    """Each locked requirement with its hashes."""
    entries = re.split(r"\n(?=\S)", (HOUSE / "requirements.lock").read_text().replace("\\\n", " "))
    entries = [entry for entry in entries if entry.strip() and not entry.startswith("#")]
    return [
        (
            Requirement(re.split(r"\s+--hash|\n", entry)[0]),
            re.findall(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)", entry),
        )
        for entry in entries
    ]


def git(*arguments: str) -> str:
    """What git answers, also where the checkout belongs to another user than the one who runs the tests."""
    command = ["git", "-c", f"safe.directory={HOUSE}", *arguments]
    return subprocess.run(command, cwd=HOUSE, check=True, capture_output=True, text=True).stdout


def tracked_files() -> list[Path]:
    """What git knows; outside a checkout (an unpacked archive) there is nothing to ask."""
    if not (HOUSE / ".git").exists():
        pytest.skip("not a git checkout")
    return [Path(name) for name in git("ls-files", "-z").split("\0") if name and (HOUSE / name).is_file()]


# ---- the lock


def test_every_locked_package_is_pinned_and_hashed() -> None:
    entries = locked()
    assert len(entries) > 50
    for requirement, hashes in entries:
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), requirement
        assert hashes, f"{requirement} has no hash"


def test_the_lock_names_no_address() -> None:
    text = (HOUSE / "requirements.lock").read_text()
    assert not re.search(r"://|index-url|find-links|trusted-host|(^|\s)(/|file:|\.\.?/)", text)


def test_the_lock_answers_everything_that_pyproject_asks_for() -> None:
    versions = {
        canonicalize_name(requirement.name): next(iter(requirement.specifier)).version
        for requirement, _ in locked()
        if requirement.marker is None or requirement.marker.evaluate()
    }
    for requirement in all_requirements():
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not locked: run make lock"
        assert version in requirement.specifier, f"locked {version} is outside {requirement}: run make lock"


# ---- the dependencies


def test_every_runtime_dependency_has_a_lower_and_an_upper_bound() -> None:
    for requirement in runtime_requirements():
        if requirement.name == "tzdata":  # its version is a date, and newer is always right
            continue
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators in ({">=", "<"}, {"~="}), str(requirement)


def test_every_dependency_earns_its_place_in_the_decisions() -> None:
    decisions = (HOUSE / "DECISIONS.md").read_text()
    explained = {
        canonicalize_name(name) for name in re.findall(r"^\| `([\w.-]+)(?:\[\w+\])?` \|", decisions, re.MULTILINE)
    }
    asked = {canonicalize_name(requirement.name) for requirement in all_requirements()}
    assert asked - explained == set(), "add a line on why to the table of dependencies in DECISIONS.md"
    assert explained - asked == set(), "no longer a dependency: take its line out of DECISIONS.md"


# ---- import rules


def lint_imports(where: Path) -> subprocess.CompletedProcess[str]:
    command = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", command, "--no-logo", "--no-cache"],
        cwd=where,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def contract_name(identity: str) -> str:
    contracts = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(str(contract["name"]) for contract in contracts if contract["id"] == identity)


@pytest.fixture
def copy_of_the_house(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(HOUSE / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HOUSE / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_import_rules_hold() -> None:
    outcome = lint_imports(HOUSE)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert " 0 broken" in outcome.stdout


@pytest.mark.parametrize(
    ("contract", "importer", "imported"),
    [
        ("floors", "adapters/planted.py", "vpp"),
        ("pure-models", "models/planted.py", "asyncio"),
        ("pure-models", "models/planted.py", "sqlalchemy"),
        ("independent-adapters", "adapters/mqtt/planted.py", "adapters.store"),
        ("far-side", "simulations/devices/planted.py", "adapters"),
        ("far-side", "simulations/wire/planted.py", "vpp"),
        ("production", "vpp/planted.py", "simulations.devices"),
        ("independent-check", "models/dispatch/check", "highspy"),
        ("independent-check", "models/dispatch/check", "models.dispatch.reference"),
        ("independent-clearing-check", "models/clearing/check", "highspy"),
        ("independent-clearing-check", "models/clearing/check", "models.clearing.prices"),
    ],
)
def test_a_planted_import_breaks_its_rule(contract: str, importer: str, imported: str, copy_of_the_house: Path) -> None:
    file = copy_of_the_house / importer
    if file.suffix != ".py":  # a module today, a package tomorrow
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    with file.open("a") as text:
        text.write(f"\nimport {imported}\n")
    outcome = lint_imports(copy_of_the_house)
    assert outcome.returncode != 0
    assert f"{contract_name(contract)} BROKEN" in outcome.stdout, outcome.stdout + outcome.stderr


def test_a_planted_circle_is_found(copy_of_the_house: Path) -> None:
    (copy_of_the_house / "vpp/planted_a.py").write_text("import vpp.planted_b\n")
    (copy_of_the_house / "vpp/planted_b.py").write_text("import vpp.planted_a\n")
    outcome = lint_imports(copy_of_the_house)
    assert f"{contract_name('no-circles')} BROKEN" in outcome.stdout, outcome.stdout + outcome.stderr


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("from datetime import UTC, datetime\n\nmoment = datetime.now(UTC)\n", "TID251"),
        ("import time\n\nmoment = time.time()\n", "TID251"),
        ("from datetime import datetime\n\nmoment = datetime(2026, 7, 1)\n", "DTZ001"),
        ("try:\n    x = 1\nexcept Exception:\n    x = 2\n", "BLE001"),
    ],
)
def test_ruff_refuses_what_the_house_forbids(source: str, code: str) -> None:
    def complaints(name: str) -> str:
        command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise"]
        command += ["--stdin-filename", name, "-"]
        return subprocess.run(command, cwd=HOUSE, input=source, capture_output=True, text=True, check=False).stdout

    assert f" {code} " in complaints("models/planted.py")
    assert f" {code} " in complaints("vpp/planted.py")
    assert (f" {code} " in complaints("vpp/clock.py")) == (code == "BLE001")


# ---- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=HOUSE,
        check=True,
        capture_output=True,
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {*PACKAGES, f"vpp_dispatch-{project()['version']}.dist-info"}


def test_the_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    expected = {str(path) for path in tracked_files() if path.parts[0] in PACKAGES}
    assert expected
    assert expected - set(wheel.namelist()) == set()


def test_the_wheel_announces_its_commands_and_stays_private(wheel: zipfile.ZipFile) -> None:
    info = f"vpp_dispatch-{project()['version']}.dist-info"
    entry_points = configparser.ConfigParser()
    entry_points.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    assert entry_points["console_scripts"]["vpp"] == "vpp.cli:main"
    assert set(entry_points["vpp.commands"]) == {"demo", "replay", "simulate"}
    assert "Classifier: Private :: Do Not Upload" in wheel.read(f"{info}/METADATA").decode()


# ---- the checkout


def test_the_top_level_holds_only_what_was_agreed() -> None:
    assert {path.parts[0] for path in tracked_files()} - TOP_LEVEL == set()


def test_no_file_mentions_a_place_outside_the_repository() -> None:
    # Put together from pieces, so that this file does not mention them either.
    forbidden = ["../" + "shared", "/wo" + "rk/", "/opt/" + "pypi", "python" + "hosted", "pypi" + ".org"]
    forbidden += ["farm-" + "studio", "farm-" + "bench"]
    for path in tracked_files():
        content = (HOUSE / path).read_bytes()
        found = [text for text in forbidden if text.encode() in content]
        assert found == [], f"{path} mentions {found}"


def test_no_tracked_file_is_large_or_ignored() -> None:
    for path in tracked_files():
        assert (HOUSE / path).stat().st_size < 2_000_000, f"{path} is too large for the repository"
    assert git("ls-files", "-ci", "--exclude-standard") == ""


def test_make_lists_every_command() -> None:
    listed = subprocess.run(["make", "help"], cwd=HOUSE, check=True, capture_output=True, text=True).stdout
    commands = re.findall(r"^  make (\w+) +\S", listed, re.MULTILINE)
    assert sorted(commands) == ["check", "clean", "demo", "format", "help", "lock", "search", "setup", "test"]
