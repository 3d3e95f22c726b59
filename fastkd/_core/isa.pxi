# Which table of kernels is in use: chosen once, at import.

cdef const fkd.fkd_table *T = NULL


def available_isas():
    """Names of the instruction sets that this build and this CPU can run, best first."""
    return tuple(name for name in ("avx512", "avx2", "neon", "baseline", "scalar")
                 if fkd.fkd_get_table(<bytes>name.encode()) != NULL)


def isa():
    """Name of the instruction set whose kernels are in use."""
    return T.isa.decode()


def _use_isa(str name not None):
    """Switch kernels; for tests and benchmarks only, since objects made before keep weights packed for the old ones."""
    global T
    cdef const fkd.fkd_table *table = fkd.fkd_get_table(<bytes>name.encode())
    if table == NULL:
        raise ImportError(f"FASTKD_ISA={name!r} is not available: this build and CPU offer {', '.join(available_isas())}")
    T = table


_use_isa(os.environ.get("FASTKD_ISA") or available_isas()[0])
_C_API = PyCapsule_New(<void *>T, "fastkd._core._native._C_API", NULL)
