#include "poller.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

int crux_milliseconds(double seconds) {
  if (seconds < 0) return -1;
  return seconds * 1e3 >= INT_MAX ? INT_MAX : (int)ceil(seconds * 1e3);
}

#ifdef CRUX_EPOLL
#include <sys/epoll.h>

bool crux_poller_init(crux_poller *p) {
  p->fd = epoll_create1(EPOLL_CLOEXEC);
  return p->fd >= 0;
}

void crux_poller_free(crux_poller *p) {
  if (p->fd >= 0) close(p->fd);
  p->fd = -1;
}

bool crux_poller_watch(crux_poller *p, int fd, bool in, bool out, bool known) {
  struct epoll_event e = { .events = (in ? EPOLLIN : 0) | (out ? EPOLLOUT : 0), .data.fd = fd };
  int call = known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (!in && !out) {
    epoll_ctl(p->fd, EPOLL_CTL_DEL, fd, &e); /* which a closed descriptor has done itself */
    return true;
  }
  if (epoll_ctl(p->fd, call, fd, &e) == 0) return true;
  if (errno != (known ? ENOENT : EEXIST)) return false;
  return epoll_ctl(p->fd, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e) == 0;
}

int crux_poller_wait(crux_poller *p, double seconds, crux_ready *ready, int max) {
  struct epoll_event events[64];
  int i, n = epoll_wait(p->fd, events, max < 64 ? max : 64, crux_milliseconds(seconds));
  for (i = 0; i < n; i++) {
    ready[i].fd = events[i].data.fd;
    ready[i].in = events[i].events & (EPOLLIN | EPOLLHUP);
    ready[i].out = events[i].events & EPOLLOUT;
    ready[i].err = events[i].events & EPOLLERR;
  }
  return n;
}

#else
#include <poll.h>

bool crux_poller_init(crux_poller *p) {
  p->fds = NULL;
  p->count = p->room = 0;
  return true;
}

void crux_poller_free(crux_poller *p) {
  free(p->fds);
  crux_poller_init(p);
}

bool crux_poller_watch(crux_poller *p, int fd, bool in, bool out, bool known) {
  size_t i = 0;
  (void)known;
  while (i < p->count && p->fds[i].fd != fd) i++;
  if (!in && !out) {
    if (i < p->count) p->fds[i] = p->fds[--p->count];
    return true;
  }
  if (i == p->room) {
    size_t room = p->room ? p->room * 2 : 8;
    struct pollfd *grown = realloc(p->fds, room * sizeof *grown);
    if (!grown) return false;
    p->fds = grown;
    p->room = room;
  }
  if (i == p->count) p->count++;
  p->fds[i] = (struct pollfd){ .fd = fd, .events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0)) };
  return true;
}

int crux_poller_wait(crux_poller *p, double seconds, crux_ready *ready, int max) {
  size_t i;
  int found = 0, n = poll(p->fds, p->count, crux_milliseconds(seconds));
  if (n <= 0) return n;
  for (i = 0; i < p->count && found < max; i++) {
    short got = p->fds[i].revents;
    if (!got) continue;
    ready[found].fd = p->fds[i].fd;
    ready[found].in = got & (POLLIN | POLLHUP);
    ready[found].out = got & POLLOUT;
    ready[found++].err = got & (POLLERR | POLLNVAL);
  }
  return found;
}
#endif
