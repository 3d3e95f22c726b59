/* unit.h: the body of each isa_*.c: the kernels for float and double, and the table FKD_TABLE of pointers to them. */
#define FKD_BITS 32
#include "kernels.inc.h"
#undef FKD_BITS
#define FKD_BITS 64
#include "kernels.inc.h"

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
};
