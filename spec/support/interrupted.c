/* Makes poll() with a timeout of 0 fail with EINTR when nothing is ready, as under a flood of
   signals. Preloaded into a child by the specs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>

int poll(struct pollfd *fds, nfds_t count, int ms) {
  typedef int real_poll(struct pollfd *, nfds_t, int);
  real_poll *real = (real_poll *)dlsym(RTLD_NEXT, "poll");
  int found = real(fds, count, ms);
  if (found != 0 || ms != 0) return found;
  errno = EINTR;
  return -1;
}
