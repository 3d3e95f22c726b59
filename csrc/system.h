/* system.h: system headers, which must come before any change of the target ISA, and the architecture. */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__GNUC__) || defined(__clang__) /* clang in the guise of MSVC's cl defines the second only */
#if defined(__x86_64__)
#define FKD_X86
#if defined(_MSC_VER) /* there clang before version 21 hides the intrinsics of targets that are not those of the whole \
                         file */
#include <malloc.h>
#pragma push_macro("_MSC_VER")
#undef _MSC_VER
#include <immintrin.h>
#pragma pop_macro("_MSC_VER")
#else
#include <immintrin.h>
#endif
#elif defined(__aarch64__)
#define FKD_ARM
#include <arm_neon.h>
#endif
#endif
#include "fastkd.h"
#if defined(_MSC_VER) && !defined(__clang__)
#define restrict __restrict
#endif
