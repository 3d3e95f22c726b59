"""C that every generated source, or every generated test, has."""

from __future__ import annotations

import numpy as np

from fastkd.deploy.export.text import hexadecimal, put

GUARD = """\
/* 1 if a feature is NaN, infinite, or beyond <<limit>>; on bits, which no flag removes */
static int $refused(const float x[], int n)
{
    uint32_t bad = 0u;
    for (int i = 0; i < n; ++i) {
        uint32_t u;
        (void)memcpy(&u, x + i, sizeof u);
        bad |= (uint32_t)((u & 0x7fffffffu) > <<bits>>);
    }
    return (int)bad;
}

static int $nothing(float p[])
{
    const uint32_t nan = 0x7fc00000u;
    for (int c = 0; c < @OUTPUTS; ++c) { (void)memcpy(p + c, &nan, sizeof nan); }
    return 1;
}
"""

INCLUDES = """\
#include "<<name>>.h"

#include <string.h>
#ifndef @QUIET
#include <stdio.h>
#endif

"""

HELPERS = """\
static int wrong = 0;

static void check(int right)
{
    wrong += (right == 0) ? 1 : 0;
}

static int is_nan(float value)
{
    uint32_t u;
    (void)memcpy(&u, &value, sizeof u);
    return ((u & 0x7fffffffu) > 0x7f800000u) ? 1 : 0;
}

static int all_nan(const float p[])
{
    int all = 1;
    for (int c = 0; c < @OUTPUTS; ++c) { all &= is_nan(p[c]); }
    return all;
}

"""


def guard(limit: float) -> str:
    """`$refused` of features beyond the limit, and `$nothing`, which answers NaN."""
    return put(GUARD, limit=f"{limit:.3g}", bits=hexadecimal(np.float32(limit).view(np.uint32)))


def framed(text: str, **parts: object) -> str:
    """A test's template with its includes and helpers in place."""
    return put(put(text, includes=INCLUDES, helpers=HELPERS), **parts)
