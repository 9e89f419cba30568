"""Memory of this process."""

import resource
import sys


def peak_rss_mb() -> float:
    """Largest resident memory so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
