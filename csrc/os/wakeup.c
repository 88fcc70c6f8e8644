/* wakeup: an eventfd(2) where there is one, a pipe elsewhere; see wakeup.h. */
#define _GNU_SOURCE
#include "wakeup.h"

#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#if defined(__linux__) && !defined(CRUX_NO_EPOLL)
#include <sys/eventfd.h>

bool crux_wakeup_open(crux_wakeup *w) {
  w->out = (crux_descriptor)CRUX_DESCRIPTOR_NONE;
  return crux_descriptor_register(&w->in, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

#else

bool crux_wakeup_open(crux_wakeup *w) {
  int ends[2] = { -1, -1 }, i;
  bool has_in, has_out;
  if (pipe(ends) == 0) {
    for (i = 0; i < 2; i++) {
      fcntl(ends[i], F_SETFD, FD_CLOEXEC);
      fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
  }
  has_in = crux_descriptor_register(&w->in, ends[0]);
  has_out = crux_descriptor_register(&w->out, ends[1]);
  if (has_in && has_out) return true;
  crux_wakeup_close(w);
  return false;
}

#endif

void crux_wakeup_signal(crux_wakeup *w) {
  static const uint64_t one = 1;
  int fd = w->out.fd >= 0 ? w->out.fd : w->in.fd;
  /* EAGAIN: the counter or the pipe is full, so it is already signalled */
  if (fd >= 0 && write(fd, &one, sizeof one) < 0) return;
}

void crux_wakeup_clear(crux_wakeup *w) {
  uint64_t discarded[8];
  while (w->in.fd >= 0 && read(w->in.fd, discarded, sizeof discarded) == (ssize_t)sizeof discarded)
    continue;
}

void crux_wakeup_close(crux_wakeup *w) {
  crux_descriptor_close(&w->in);
  crux_descriptor_close(&w->out);
}
