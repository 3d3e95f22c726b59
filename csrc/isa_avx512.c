/* AVX-512 F, BW, DQ, VL (Skylake-X, Zen 4 and later). */
#include "system.h"
#ifdef FKD_X86
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif
#define FKD_AVX512
#define FKD_TABLE fkd_table_avx512
#define FKD_NAME "avx512"
#include "unit.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
typedef int fkd_no_avx512; /* an empty unit is not C */
#endif
