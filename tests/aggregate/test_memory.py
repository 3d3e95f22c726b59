"""Memory beyond the updates: at most 64 KiB a client, the n x n distances and one result."""

import subprocess
import sys
from pathlib import Path

import pytest

# the clients' updates are windows of one array, each a number further on: many of them, and little to hold
RUN = """
import sys
import numpy as np
from fastkd import aggregate

def peak():
    with open("/proc/self/status") as lines:
        return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Vm")}["VmHWM"] * 1024

n, d, names, info = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(","), sys.argv[4] == "info"
options = {"trimmed_mean": {"f": 1}, "meamed": {"f": 1}, "krum": {"f": 1}, "multi_krum": {"f": 1}, "bulyan": {"f": 1},
           "centered_clipping": {"radius": 1.0}}
def run(n, d):
    options["centered_clipping"]["center"] = np.full(d, 0.1)  # in float64, another type than the updates
    base = np.empty(n + d, np.float32)
    np.random.default_rng(0).standard_normal(dtype=np.float32, out=base)
    rows = [base[i : i + d] for i in range(n)]
    before = peak()
    for name in names:
        result = getattr(aggregate, name)(rows, return_info=info, **options.get(name, {}))
        if info:
            assert np.isfinite(result[1].gap_to_mean), name
            result = result[0]
        assert result.shape == (d,) and np.isfinite(result).all(), name
        del result
    return peak() - before
run(7, 100)
print(run(n, d))
"""
ALL = "mean,median,trimmed_mean,meamed,krum,multi_krum,bulyan,geometric_median,centered_clipping"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("n", "d", "rules", "info"),
    [
        (1, 10_000_000, "mean,median,geometric_median,centered_clipping", "no info"),
        (7, 3_000_000, ALL, "no info"),
        (7, 3_000_000, ALL, "info"),
        (1000, 1000, ALL, "no info"),
    ],
)
def test_memory_beyond_the_updates(n, d, rules, info):
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(n), str(d), rules, info], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    interpreter = 3 << 20  # arenas, and what np.isfinite of the check above needs
    assert int(done.stdout) <= n * 65536 + n * n * 8 + d * 4 + d + interpreter
