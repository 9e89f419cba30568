"""Who has just gone missing, before it is certain: so many at once are not late, they have fallen silent.

    s   share of those whose reading of the last cycle was there in time and whose reading of this one is not
    q   share that is late at the turn of a cycle and comes after all, one in ten                    (an assumption)
    w   =  min(1, q / s)                 how much of what the missing were to bring is still expected from each

One that is late and one that is silent look the same for a cycle; a fifth of the fleet that is late at once does not
occur.  Waiting until each of them is past its time-to-live costs an hour one cycle more, 2 % with a fifth silent.
Where more than half is missing it is we who are deaf.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.intervals import FloatArray

LATE_SHARE = 0.1
DEAF_SHARE = 0.5


@dataclass
class Absence:
    """Remembers whose readings came in time, by row of the live state."""

    _in_time: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def expected_share(self, rows: NDArray[np.int64], in_time: NDArray[np.bool_]) -> FloatArray:
        """How much is to be expected of each of ``rows``, (n,): 1 of who is in time or as late as before, w of who has
        just gone missing; takes note of this cycle.
        """
        punctual = np.isin(rows, self._in_time)
        missing = punctual & ~in_time
        self._in_time = rows[in_time]
        share = float(missing.sum()) / max(1, int(punctual.sum()))
        if not LATE_SHARE < share <= DEAF_SHARE:
            return np.ones(len(rows))
        return np.where(missing, LATE_SHARE / share, 1.0)
