"""How the checker compiles: numba, the outcome kept in the user's cache, one folder per version of this package."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def _version() -> str:
    """Fingerprint of numba and all files here: numba alone would not see that a function it calls has changed."""
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return hashlib.sha256(numba.__version__.encode() + sources).hexdigest()[:12]


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _folder() -> Path | None:
    try:
        roots = [Path.home() / ".cache", Path(tempfile.gettempdir())]
    except RuntimeError:  # nobody's home
        roots = [Path(tempfile.gettempdir())]
    folders = [root / "vpp-check" / _version() for root in roots]
    return next((folder for folder in folders if _writable(folder)), None)


_FOLDER = _folder()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled at its first call; divisions follow IEEE, as in numpy."""
    options: dict[str, Any] = {"error_model": "numpy", "nogil": True, "cache": _FOLDER is not None}
    settings: Any = numba.config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = before if _FOLDER is None else str(_FOLDER)
    try:
        made: Callable[..., Any] = numba.njit(**options)(function)
    finally:
        settings.CACHE_DIR = before
    return made
