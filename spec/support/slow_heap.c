/* Makes every thread but the first sleep for 100 ms just after it has moved a block of memory, so
   that a race at that point happens for certain. Preloaded into a child by the specs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

void *realloc(void *block, size_t size) {
  typedef void *reallocate(void *, size_t);
  reallocate *real = (reallocate *)dlsym(RTLD_NEXT, "realloc");
  void *moved = real(block, size);
  if (moved != block && syscall(SYS_gettid) != getpid()) usleep(100000);
  return moved;
}
