/* Makes every thread but the first sleep for 50 ms just before it locks a mutex, so that a race at
   that point happens for certain. Preloaded into a child by the specs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

int pthread_mutex_lock(pthread_mutex_t *mutex) {
  typedef int lock(pthread_mutex_t *);
  lock *real = (lock *)dlsym(RTLD_NEXT, "pthread_mutex_lock");
  if (syscall(SYS_gettid) != getpid()) usleep(50000);
  return real(mutex);
}
