/* AVX2 with FMA (Haswell, Zen and later). */
#include "system.h"
#ifdef FKD_X86
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define FKD_AVX2
#define FKD_TABLE fkd_table_avx2
#define FKD_NAME "avx2"
#include "unit.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
typedef int fkd_no_avx2; /* an empty unit is not C */
#endif
