/* dispatch.c: which tables this build has and this CPU runs, best first. */
#include "system.h"

extern const fkd_table fkd_table_scalar;
#if defined(FKD_X86) || defined(FKD_ARM)
extern const fkd_table fkd_table_baseline;
#endif
#ifdef FKD_X86
#include <cpuid.h>
extern const fkd_table fkd_table_avx2, fkd_table_avx512;

/* The CPU is asked here, since __builtin_cpu_supports needs a run-time library of the compiler that not every toolchain has.
 * Bits: Intel's manual, volume 2, CPUID, leaves 1 and 7; volume 1, 13.3 and 14.3, which registers the operating system saves (XCR0). */
enum { CPU_AVX2 = 1, CPU_AVX512 = 2 };
static int cpu_features(void) {
  const unsigned fma_osxsave_avx = 1u << 12 | 1u << 27 | 1u << 28, f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
  unsigned a, b, c, d, saved, high;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & fma_osxsave_avx) != fma_osxsave_avx) return 0;
  __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if ((saved & 0x06) != 0x06 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 5 & 1)) return 0;
#if defined(__APPLE__)
  saved |= 0xe0; /* macOS saves the registers of AVX-512 from a thread's first use of them on, and sets the bits only then */
#endif
  return CPU_AVX2 | ((saved & 0xe6) == 0xe6 && (b & f_dq_bw_vl) == f_dq_bw_vl ? CPU_AVX512 : 0);
}
#endif

const fkd_table *fkd_get_table(const char *name) {
#define OFFER(table)                                        \
  do {                                                      \
    if (!name || !strcmp(name, table.isa)) return &(table); \
  } while (0)
#ifdef FKD_X86
  const int cpu = cpu_features();
  if (cpu & CPU_AVX512) OFFER(fkd_table_avx512);
  if (cpu & CPU_AVX2) OFFER(fkd_table_avx2);
#endif
#if defined(FKD_X86) || defined(FKD_ARM)
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
