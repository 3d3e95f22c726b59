/* What every CPU of the architecture has: SSE2 on x86-64, NEON on aarch64. */
#include "system.h"
#if defined(FKD_X86) || defined(FKD_ARM)
#ifdef FKD_X86
#define FKD_SSE2
#define FKD_NAME "baseline"
#else
#define FKD_NEON
#define FKD_NAME "neon"
#endif
#define FKD_TABLE fkd_table_baseline
#include "unit.h"
#else
typedef int fkd_no_baseline; /* an empty unit is not C */
#endif
