/* Has every thread but the first be pushed off its processor for 50 ms just before it takes a mutex: preloaded into a
   child by the specs, so that what happens in between does happen. */
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
