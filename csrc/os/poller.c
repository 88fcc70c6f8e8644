#include "poller.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int crux_milliseconds(double seconds) {
  if (seconds < 0) return -1;
  return seconds * 1e3 >= INT_MAX ? INT_MAX : (int)ceil(seconds * 1e3);
}

#ifdef CRUX_EPOLL
#include <sys/epoll.h>

/* As bits of `known`. */
enum { WANT_IN = 1, WANT_OUT = 2, WANTED = WANT_IN | WANT_OUT, TOLD = 2 /* bits further up */, ADOPTED = 16 };

bool crux_poller_init(crux_poller *p) {
  p->known = NULL;
  p->room = 0;
  p->fd = epoll_create1(EPOLL_CLOEXEC);
  return p->fd >= 0;
}

void crux_poller_free(crux_poller *p) {
  if (p->fd >= 0) close(p->fd);
  p->fd = -1;
  free(p->known);
  p->known = NULL;
  p->room = 0;
}

static bool make_room(crux_poller *p, int fd) {
  size_t room = p->room ? p->room : 64;
  unsigned char *grown;
  if ((size_t)fd < p->room) return true;
  while (room <= (size_t)fd) room *= 2;
  grown = realloc(p->known, room);
  if (!grown) return false;
  memset(grown + p->room, 0, room - p->room);
  p->known = grown;
  p->room = room;
  return true;
}

static bool tell(crux_poller *p, int fd, unsigned what) {
  unsigned told = p->known[fd] >> TOLD & WANTED;
  struct epoll_event e = { .events = (what & WANT_IN ? EPOLLIN : 0) | (what & WANT_OUT ? EPOLLOUT : 0), .data.fd = fd };
  int call = told ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, other = told ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  p->known[fd] &= (unsigned char)~(WANTED << TOLD);
  if (!what) {
    if (told) epoll_ctl(p->fd, EPOLL_CTL_DEL, fd, &e); /* which a closed descriptor has done itself */
    return true;
  }
  if (epoll_ctl(p->fd, call, fd, &e) != 0 &&
      (errno != (told ? ENOENT : EEXIST) || epoll_ctl(p->fd, other, fd, &e) != 0)) return false;
  p->known[fd] |= (unsigned char)(what << TOLD);
  return true;
}

/* A connection is put down after each answer and taken up again for the next request. The kernel is told only if the
   connection stirs in between. */
bool crux_poller_watch(crux_poller *p, int fd, bool in, bool out) {
  unsigned want = (in ? WANT_IN : 0) | (out ? WANT_OUT : 0), told;
  if (!make_room(p, fd)) return false;
  p->known[fd] = (unsigned char)((p->known[fd] & ~WANTED) | want);
  told = p->known[fd] >> TOLD & WANTED;
  if ((p->known[fd] & ADOPTED) && told == WANT_IN && (want == WANT_IN || !want)) return true;
  return tell(p, fd, want);
}

bool crux_poller_adopt(crux_poller *p, int fd) {
  if (!make_room(p, fd)) return false;
  p->known[fd] = ADOPTED;
  return true;
}

void crux_poller_forget(crux_poller *p, int fd) {
  if (fd < 0 || (size_t)fd >= p->room) return;
  tell(p, fd, 0); /* a child may have the connection too, and would keep it watched */
  p->known[fd] = 0;
}

int crux_poller_wait(crux_poller *p, double seconds, crux_ready *ready, int max) {
  struct epoll_event events[64];
  int i, found = 0, n = epoll_wait(p->fd, events, max < 64 ? max : 64, crux_milliseconds(seconds));
  if (n < 0) return n;
  for (i = 0; i < n; i++) {
    int fd = events[i].data.fd;
    if (!(p->known[fd] & WANTED)) {
      tell(p, fd, 0);
      continue;
    }
    ready[found].fd = fd;
    ready[found].in = events[i].events & (EPOLLIN | EPOLLHUP);
    ready[found].out = events[i].events & EPOLLOUT;
    ready[found++].err = events[i].events & EPOLLERR;
  }
  return found;
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

bool crux_poller_watch(crux_poller *p, int fd, bool in, bool out) {
  size_t i = 0;
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

bool crux_poller_adopt(crux_poller *p, int fd) {
  (void)p;
  (void)fd;
  return true;
}

void crux_poller_forget(crux_poller *p, int fd) { crux_poller_watch(p, fd, false, false); }

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
