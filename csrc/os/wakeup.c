#define _GNU_SOURCE
#include "wakeup.h"

#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#if defined(__linux__) && !defined(CRUX_NO_EPOLL)
#include <sys/eventfd.h>

bool crux_wakeup_open(crux_wakeup *w) {
  w->in = w->out = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return w->in >= 0;
}

#else

bool crux_wakeup_open(crux_wakeup *w) {
  int ends[2], i;
  w->in = w->out = -1;
  if (pipe(ends) != 0) return false;
  for (i = 0; i < 2; i++) {
    fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    fcntl(ends[i], F_SETFL, O_NONBLOCK);
  }
  w->in = ends[0];
  w->out = ends[1];
  return true;
}

#endif

void crux_wakeup_signal(crux_wakeup *w) {
  static const uint64_t one = 1;
  /* full means rung */
  if (w->out >= 0 && write(w->out, &one, sizeof one) < 0) return;
}

void crux_wakeup_clear(crux_wakeup *w) {
  uint64_t waste[8];
  while (w->in >= 0 && read(w->in, waste, sizeof waste) == (ssize_t)sizeof waste) continue;
}

void crux_wakeup_close(crux_wakeup *w) {
  if (w->in >= 0) close(w->in);
  if (w->out >= 0 && w->out != w->in) close(w->out);
  w->in = w->out = -1;
}
