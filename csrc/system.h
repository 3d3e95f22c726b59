/* system.h: system headers, which must come before any change of the target ISA. */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__GNUC__)
#include <arm_neon.h>
#endif
#include "fastkd.h"
#if defined(_MSC_VER) && !defined(__clang__)
#define restrict __restrict
#endif
