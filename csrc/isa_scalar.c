/* Plain C, one lane: the only table for compilers without GNU vectors, and the yardstick for the others. */
#include "system.h"
#define FKD_SCALAR
#define FKD_TABLE fkd_table_scalar
#define FKD_NAME "scalar"
#include "unit.h"
