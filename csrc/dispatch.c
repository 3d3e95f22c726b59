/* dispatch.c: which tables this build has and this CPU runs, best first. */
#include "system.h"

extern const fkd_table fkd_table_scalar;
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__aarch64__))
extern const fkd_table fkd_table_baseline;
#endif
#if defined(__GNUC__) && defined(__x86_64__)
extern const fkd_table fkd_table_avx2, fkd_table_avx512;
/* the builtins also ask the operating system whether it saves the wide registers */
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#endif

const fkd_table *fkd_get_table(const char *name) {
#define OFFER(table)                                        \
  do {                                                      \
    if (!name || !strcmp(name, table.isa)) return &(table); \
  } while (0)
#if defined(__GNUC__) && defined(__x86_64__)
  __builtin_cpu_init();
  if (has_avx512()) OFFER(fkd_table_avx512);
  if (has_avx2()) OFFER(fkd_table_avx2);
#endif
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__aarch64__))
  OFFER(fkd_table_baseline);
#endif
  OFFER(fkd_table_scalar);
  return NULL;
}

int fkd_integers_first(void) {
#if defined(__GNUC__) && defined(__x86_64__) /* Zen has twice the ports for them; Intel with AVX-512 half as many */
  __builtin_cpu_init();
  return __builtin_cpu_is("amd");
#elif defined(__aarch64__)
  return 1; /* one instruction instead of a comparison and a selection */
#else
  return 0;
#endif
}
