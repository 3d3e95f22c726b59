"""Jobs of `test_parallel.py`, which other processes import."""


class Own(Exception):
    """An error that no library knows."""


def square(k):
    if k == 13:
        raise Own("thirteen")
    return k * k


def late(at, k):
    if k >= at - 1:
        raise Own("of a schedule")
    return 2.0
