# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True, embedsignature=False
"""Bindings of the C core: types, pointers and the GIL. One included file a kernel family."""

import os

import numpy as np

from fastkd import _check

cimport numpy as cnp
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.pycapsule cimport PyCapsule_New
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.math cimport INFINITY, NAN, sqrt
from libc.stdint cimport int32_t, int64_t, uint16_t, uintptr_t
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
