/* memory.h: buffers of the exact size, so that one element too many is an error and not luck.
 *
 * Mode 0 is malloc: AddressSanitizer watches both ends. Mode 1 puts the end of the buffer against a page that may not be touched:
 * that also stops masked vector loads and stores, which AddressSanitizer does not see. All bytes start as 0xFF, which is NaN. */
#ifndef MEMORY_H
#define MEMORY_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <malloc.h>
#include <windows.h>
#undef near /* words of 16-bit Windows */
#undef far
#else
#include <sys/mman.h>
#include <unistd.h>
#endif
#include "check.h"

enum kind { PLAIN, ALIGNED, PAGES };
static int guarded; /* the mode */
static struct { void *base; size_t length; enum kind kind; } held[256];
static int n_held;

#ifdef _WIN32
static size_t page_size(void) { SYSTEM_INFO i; GetSystemInfo(&i); return i.dwPageSize; }
static char *guarded_pages(size_t room, size_t page) {
  char *base = VirtualAlloc(NULL, room + page, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  DWORD before;
  return base && VirtualProtect(base + room, page, PAGE_NOACCESS, &before) ? base : NULL;
}
static void *aligned(size_t bytes, size_t align) { return _aligned_malloc(bytes, align); }
static void release(void *base, size_t length, enum kind kind) {
  (void)length;
  if (kind == PAGES) VirtualFree(base, 0, MEM_RELEASE);
  else if (kind == ALIGNED) _aligned_free(base);
  else free(base);
}
#else
static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }
static char *guarded_pages(size_t room, size_t page) {
  char *base = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return base != MAP_FAILED && !mprotect(base + room, page, PROT_NONE) ? base : NULL;
}
static void *aligned(size_t bytes, size_t align) { void *p; return posix_memalign(&p, align, bytes) ? NULL : p; }
static void release(void *base, size_t length, enum kind kind) {
  if (kind == PAGES) munmap(base, length);
  else free(base);
}
#endif

static void *take(size_t bytes, size_t align) {
  const enum kind kind = guarded ? PAGES : align > 16 ? ALIGNED : PLAIN;
  const size_t page = page_size(), room = (bytes + align + page - 1) / page * page, some = bytes ? bytes : 1;
  CHECK(n_held < 256, "too many buffers");
  char *base = kind == PAGES ? guarded_pages(room, page) : kind == ALIGNED ? aligned(some, align) : malloc(some);
  CHECK(base, "no memory");
  held[n_held].base = base, held[n_held].length = room + page, held[n_held++].kind = kind;
  return memset(kind == PAGES ? base + room - (bytes + align - 1) / align * align : base, 0xFF, bytes);
}

static void give_back(void) {
  while (n_held > 0) --n_held, release(held[n_held].base, held[n_held].length, held[n_held].kind);
}
#endif
