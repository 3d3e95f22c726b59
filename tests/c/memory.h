/* memory.h: buffers of the exact size, so that one element too many is an error and not luck.
 *
 * Mode 0 is malloc: AddressSanitizer watches both ends. Mode 1 puts the end of the buffer against a page that may not be touched:
 * that also stops masked vector loads and stores, which AddressSanitizer does not see. All bytes start as 0xFF, which is NaN. */
#ifndef MEMORY_H
#define MEMORY_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "check.h"

static int guarded; /* the mode */
static struct { void *base; size_t length; } held[256];
static int n_held;

static void *take(size_t bytes, size_t align) {
  char *p;
  CHECK(n_held < 256, "too many buffers");
  if (!guarded) {
    if (align > 16) CHECK(!posix_memalign((void **)&p, align, bytes ? bytes : 1), "no memory");
    else CHECK((p = malloc(bytes ? bytes : 1)) != NULL, "no memory");
    held[n_held].base = p, held[n_held].length = 0;
  } else {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + align + page - 1) / page * page;
    char *base = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED && !mprotect(base + room, page, PROT_NONE), "no memory");
    p = base + room - (bytes + align - 1) / align * align;
    held[n_held].base = base, held[n_held].length = room + page;
  }
  ++n_held;
  return memset(p, 0xFF, bytes);
}

static void give_back(void) {
  for (int i = 0; i < n_held; ++i) {
    if (held[i].length) munmap(held[i].base, held[i].length);
    else free(held[i].base);
  }
  n_held = 0;
}
#endif
