/* unit.h: the body of each isa_*.c: the kernels for float and double, and the table FKD_TABLE of pointers to them. */
#define FKD_BITS 32
#include "kernels.inc.h"
#undef FKD_BITS
#define FKD_BITS 64
#include "kernels.inc.h"
#include "candles.inc.h"
#include "feed.inc.h"

extern const fkd_table FKD_TABLE;
const fkd_table FKD_TABLE = {
    .abi = FKD_ABI,
    .isa = FKD_NAME,
    .f32 =
        {
#define FKD_KERNEL(result, name, arguments) .name = fkd_##name##_f32,
#include "fastkd_kernels.h"
#undef FKD_KERNEL
        },
    .f64 =
        {
#define FKD_KERNEL(result, name, arguments) .name = fkd_##name##_f64,
#include "fastkd_kernels.h"
#undef FKD_KERNEL
        },
    .kl = fkd_kl,
    .candle_state = fkd_candle_state,
    .candle_recent = fkd_candle_recent,
    .candle_check = fkd_candle_check,
    .candle_push = fkd_candle_push,
    .candle_rows = fkd_candle_rows,
    .candle_scratch = fkd_candle_scratch,
    .candle_read = fkd_candle_read,
};
