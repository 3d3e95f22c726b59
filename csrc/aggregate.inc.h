/* aggregate.inc.h: robust aggregation over rows that are separate arrays: order statistics of columns, and sums over
 * rows. */
#include "distances.inc.h"
#include "order.inc.h"
#if FKD_BITS == 64
#define RV (8 / VL) /* vectors in 8 lanes */
#if defined(FKD_AVX512)
#define TI 4
#define TJ 4
#elif defined(FKD_AVX2) || defined(FKD_NEON)
#define TI 2
#define TJ 2
#else
#define TI 1
#define TJ 1
#endif
#define ROW float
#define ROW_SINGLE 1
#define ROW_MAX ((double)FLT_MAX)
#define ROW_SUFFIX _f32
#include "rows.inc.h"
#undef ROW
#undef ROW_SINGLE
#undef ROW_MAX
#undef ROW_SUFFIX
#define ROW double
#define ROW_SINGLE 0
#define ROW_MAX DBL_MAX
#define ROW_SUFFIX _f64
#include "rows.inc.h"
#undef ROW
#undef ROW_SINGLE
#undef ROW_MAX
#undef ROW_SUFFIX
#undef RV
#undef TI
#undef TJ
#endif
