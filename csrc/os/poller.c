/* poller: see poller.h. */
#include "poller.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int crux_milliseconds(double seconds) {
  if (seconds < 0) return -1;
  return seconds * 1e3 >= INT_MAX ? INT_MAX : (int)ceil(seconds * 1e3);
}

void *crux_poller_owner(const crux_poller *p, int fd) {
  return fd >= 0 && (size_t)fd < p->capacity ? p->watches[fd].owner : NULL;
}

static bool reserve(crux_poller *p, int fd) {
  size_t capacity = p->capacity ? p->capacity : 64;
  crux_watch *grown;
  if ((size_t)fd < p->capacity) return true;
  while (capacity <= (size_t)fd) capacity *= 2;
  grown = realloc(p->watches, capacity * sizeof *grown);
  if (!grown) return false;
  memset(grown + p->capacity, 0, (capacity - p->capacity) * sizeof *grown);
  p->watches = grown;
  p->capacity = capacity;
  return true;
}

#ifdef CRUX_EPOLL
#include <sys/epoll.h>

bool crux_poller_init(crux_poller *p) {
  p->watches = NULL;
  p->capacity = 0;
  return crux_descriptor_register(&p->epoll, epoll_create1(EPOLL_CLOEXEC));
}

void crux_poller_free(crux_poller *p) {
  crux_descriptor_close(&p->epoll);
  free(p->watches);
  p->watches = NULL;
  p->capacity = 0;
}

/* Brings the epoll set up to date. libcurl may close a descriptor without its close callback, which
   removes it from the set, and then be given the same number again: hence the second attempt. */
static bool update_epoll(crux_poller *p, int fd) {
  crux_watch *w = &p->watches[fd];
  struct epoll_event e = {
    .events = (w->in ? EPOLLIN : 0) | (w->out ? EPOLLOUT : 0), .data.fd = fd,
  };
  bool known = w->known_in || w->known_out;
  int likely = known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, other = known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  w->known_in = w->known_out = false;
  if (!e.events) {
    if (known) epoll_ctl(p->epoll.fd, EPOLL_CTL_DEL, fd, &e);
    return true;
  }
  if (epoll_ctl(p->epoll.fd, likely, fd, &e) != 0 &&
      (errno != (known ? ENOENT : EEXIST) || epoll_ctl(p->epoll.fd, other, fd, &e) != 0))
    return false;
  w->known_in = w->in;
  w->known_out = w->out;
  return true;
}

bool crux_poller_watch(crux_poller *p, int fd, bool in, bool out, void *owner) {
  crux_watch *w;
  if (!reserve(p, fd)) return false;
  w = &p->watches[fd];
  w->in = in;
  w->out = out;
  w->owner = in || out ? owner : NULL;
  if (update_epoll(p, fd)) return true;
  w->owner = NULL;
  return false;
}

int crux_poller_wait(crux_poller *p, double seconds, crux_ready ready[CRUX_READY_MAX]) {
  struct epoll_event events[CRUX_READY_MAX];
  int i, n = epoll_wait(p->epoll.fd, events, CRUX_READY_MAX, crux_milliseconds(seconds));
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
  p->watches = NULL;
  p->capacity = 0;
  return true;
}

void crux_poller_free(crux_poller *p) {
  free(p->watches);
  crux_poller_init(p);
}

bool crux_poller_watch(crux_poller *p, int fd, bool in, bool out, void *owner) {
  if (!reserve(p, fd)) return false;
  p->watches[fd] = (crux_watch){ .owner = in || out ? owner : NULL, .in = in, .out = out };
  return true;
}

int crux_poller_wait(crux_poller *p, double seconds, crux_ready ready[CRUX_READY_MAX]) {
  struct pollfd *fds = malloc((p->capacity + 1) * sizeof *fds);
  nfds_t count = 0, i;
  int found = 0, n;
  if (!fds) {
    errno = ENOMEM;
    return -1;
  }
  for (i = 0; i < p->capacity; i++) {
    const crux_watch *w = &p->watches[i];
    if (!w->owner) continue;
    fds[count].fd = (int)i;
    fds[count++].events = (short)((w->in ? POLLIN : 0) | (w->out ? POLLOUT : 0));
  }
  n = poll(fds, count, crux_milliseconds(seconds));
  for (i = 0; n > 0 && i < count && found < CRUX_READY_MAX; i++) {
    short got = fds[i].revents;
    if (!got) continue;
    ready[found].fd = fds[i].fd;
    ready[found].in = got & (POLLIN | POLLHUP);
    ready[found].out = got & POLLOUT;
    ready[found++].err = got & (POLLERR | POLLNVAL);
  }
  free(fds);
  return n < 0 ? n : found;
}
#endif
