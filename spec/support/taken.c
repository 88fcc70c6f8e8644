/* A process-directed SIGPIPE that another thread consumes just after it was found pending.
   Preloaded into a child by the specs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>

int sigpending(sigset_t *set) {
  typedef int pending(sigset_t *);
  pending *real = (pending *)dlsym(RTLD_NEXT, "sigpending");
  sigset_t blocked;
  int status = real(set);
  pthread_sigmask(SIG_BLOCK, NULL, &blocked);
  if (sigismember(&blocked, SIGPIPE)) sigaddset(set, SIGPIPE);
  return status;
}
