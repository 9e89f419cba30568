"""One thread for the linear algebra of numpy and scipy while a solver works.

On matrices as small as a zone's, several threads are ten times slower than one; and into how many parts a sum was cut
would be seen in its last digit.
"""

from contextlib import AbstractContextManager

import numpy as np  # noqa: F401 - the controller knows the libraries that are loaded by then
import scipy.linalg  # noqa: F401 - it brings one of its own
from threadpoolctl import ThreadpoolController

_THREADS = ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """Inside, the linear algebra of this process has one thread."""
    limited: AbstractContextManager[object] = _THREADS.limit(limits=1, user_api="blas")
    return limited
