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
    return _compiled(function)


def jit_row(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same without counting references: for what is asked row by row, and makes and returns no array.

    The sweep around it holds all arrays.  Counting would cost a hundred atomic additions per row, on counters that all
    threads share.  What it calls is compiled so too; numba refuses what would need a count.
    """
    return _compiled(function, _nrt=False)


def _compiled(function: Callable[..., Any], **options: bool) -> Callable[..., Any]:
    compile_with: Callable[..., Callable[[Callable[..., Any]], Callable[..., Any]]] = numba.njit
    if _FOLDER is None:
        return compile_with(nogil=True, error_model="numpy", **options)(function)
    before, _CONFIG.CACHE_DIR = _CONFIG.CACHE_DIR, str(_FOLDER)
    try:
        return compile_with(nogil=True, error_model="numpy", cache=True, **options)(function)
    finally:
        _CONFIG.CACHE_DIR = before
