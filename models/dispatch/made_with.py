"""With what a solve was made: our own files, libraries, processor and threads.  Another of them may round otherwise."""

import functools
import hashlib
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

_MODELS = Path(__file__).parents[1]
_LIBRARIES = ("vpp-dispatch", "highspy", "numpy", "numba", "llvmlite", "scipy", "pyomo")


@functools.cache
def _code() -> str:
    """Fingerprint of all files of ``models``: a version number stays the same while somebody works on it."""
    digest = hashlib.sha256()
    for path in sorted(_MODELS.rglob("*.py")):
        digest.update(path.relative_to(_MODELS).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@functools.cache
def made_with() -> dict[str, Any]:
    """Names and versions, in words that JSON knows."""
    blas = [each for each in threadpool_info() if each.get("user_api") == "blas"]
    return {
        "code": _code(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "simd": sorted(np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])),
        "blas": sorted({f"{each['internal_api']} {each['version']} {each.get('architecture')}" for each in blas}),
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        **{name: _version(name) for name in _LIBRARIES},
    }


def differences(recorded: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is otherwise here: name → (recorded, here).  The number of threads may be."""
    here = made_with()
    names = sorted((recorded.keys() | here.keys()) - {"threads"})
    return {name: (recorded.get(name), here.get(name)) for name in names if recorded.get(name) != here.get(name)}
