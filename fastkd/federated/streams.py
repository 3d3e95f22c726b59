"""Random numbers of a federation: each draw has a generator of its own, a function of who draws what and when.

So nothing depends on the order in which threads work, on where a run was interrupted, or on which machine a client is.
"""

from __future__ import annotations

import numpy as np

__all__ = ["generator"]

SAMPLING, LOCAL, ATTACK, MIXING, POISON, ROWS, NOISE, ABSENCE, SERVER = range(9)


def generator(entropy: int, round_number: int, stream: int, client: int = 0) -> np.random.Generator:
    """The generator of one draw: of the run's entropy, the round, what is drawn, and the client's number."""
    # Philox counts in the first two words, so the others tell streams and clients apart
    return np.random.Generator(np.random.Philox(key=[entropy, round_number], counter=[0, 0, stream, client]))
