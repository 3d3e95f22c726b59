/* Plain C, one lane: the only table for compilers without GNU vectors, and the yardstick for the others. */
#include "system.h"
/* gcc (12.2, from -O2 on) vectorizes the loop of gemm_tile over k with loads of A[k + 1] that it does not use, beyond
 * the last row: a crash where the matrix ends at a page. One lane is meant to be one lane; the other units have vectors
 * in such loops. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-vectorize", "fp-contract=off")
#if defined(FKD_X86) || defined(FKD_ARM) /* never the best table here, so small: 330 instead of 590 KB */
#pragma GCC optimize("Os")
#endif
#endif
#define FKD_SCALAR
#define FKD_TABLE fkd_table_scalar
#define FKD_NAME "scalar"
#include "unit.h"
