/* check.h: one macro that ends the program with what was wrong, and random numbers that are the same everywhere. */
#ifndef CHECK_H
#define CHECK_H
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const char *context = "";
static long n_checks;

#define CHECK(condition, ...)                                                                        \
  do {                                                                                               \
    ++n_checks;                                                                                      \
    if (!(condition)) {                                                                              \
      fprintf(stderr, "%s:%d: [%s] not true: %s; ", __FILE__, __LINE__, context, #condition);        \
      fprintf(stderr, __VA_ARGS__);                                                                  \
      fputc('\n', stderr);                                                                           \
      exit(1);                                                                                       \
    }                                                                                                \
  } while (0)

static uint64_t random_state = 88172645463325252u;

static double uniform(void) { /* in [0, 1), xorshift64* */
  random_state ^= random_state >> 12, random_state ^= random_state << 25, random_state ^= random_state >> 27;
  return (double)((random_state * 2685821657736338717u) >> 11) * 0x1p-53;
}

static double bell(void) { /* mean 0, variance 1, near normal */
  double sum = 0;
  for (int i = 0; i < 12; ++i) sum += uniform();
  return sum - 6;
}
#endif
