# cython: language_level=3, cdivision=True, freethreading_compatible=True, embedsignature=False
"""Bindings of the C core: types, pointers and the GIL. One included file a kernel family.

A kernel is called as fkd.name(T, single, ...): both real types take one road here, and the generated .pxd picks
T.f32.name or T.f64.name. Reals and targets are `void *`, and `single` says what they point to.

What a function does, in this order: convert its arguments (which may run Python code of the caller), check them, take
pointers, call. What a kernel uses as an index (labels, row numbers) is copied before it is checked: another thread may
write to the caller's array. Objects get their state in `__cinit__` and keep it; what could fail fails there, and nothing
half-made is left. Divisors are sizes checked to be positive (cdivision).
"""

import os
from operator import index

import numpy as np

from fastkd import _check

cimport numpy as cnp
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uintptr_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memcpy, memset

cimport fastkd_core as fkd

cnp.import_array()

include "arrays.pxi"
include "isa.pxi"
include "losses.pxi"
include "kernel.pxi"
include "mlp.pxi"
include "exits.pxi"
include "sequence.pxi"
include "predictor.pxi"
include "sequence_predictor.pxi"
include "features.pxi"
include "live.pxi"
include "aggregate.pxi"
include "condense.pxi"
include "descent.pxi"
