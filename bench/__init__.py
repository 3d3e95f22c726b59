"""Benchmarks of fastkd beside its peers: one module a workload, run as ``python -m bench.losses``.

Python runs this file before any benchmark module, so it is the one place where the thread counts of
BLAS, OpenMP, numba and XLA can be fixed before those libraries are loaded.
"""

import os

THREADS = 1

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
              "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS", "NPROC"):  # fmt: skip
    os.environ[_name] = str(THREADS)  # NPROC sets the size of XLA's CPU thread pool
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
