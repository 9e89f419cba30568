"""How oracles are compiled: without the GIL, once per machine and version of these files."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def _fingerprint() -> str:
    """Of all files beside this one: numba looks at a function's own file only, and would keep what calls old code."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> Path | None:
    """A folder of this version's own, in the user's cache or, without a home, among the temporary files."""
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(tempfile.gettempdir())
    for root in (home / ".cache", Path(tempfile.gettempdir())):
        folder = root / "vpp-dispatch" / "numba" / _fingerprint()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        return folder
    return None


_FOLDER = _cache_folder()
_CONFIG: Any = numba.config


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with numba: no GIL, IEEE division, cached on disk."""
    if _FOLDER is None:
        return numba.njit(nogil=True, error_model="numpy")(function)
    before, _CONFIG.CACHE_DIR = _CONFIG.CACHE_DIR, str(_FOLDER)
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    finally:
        _CONFIG.CACHE_DIR = before
