/* poller: which descriptors are ready; epoll where there is one, poll elsewhere. */
#ifndef CRUX_POLLER_H
#define CRUX_POLLER_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__linux__) && !defined(CRUX_NO_EPOLL)
#define CRUX_EPOLL 1
#endif

typedef struct {
#ifdef CRUX_EPOLL
  int fd;
#else
  struct pollfd *fds;
  size_t count, room;
#endif
} crux_poller;

typedef struct {
  int fd;
  bool in, out, err;
} crux_ready;

bool crux_poller_init(crux_poller *p);
void crux_poller_free(crux_poller *p);

/* Changes what a descriptor is watched for; neither in nor out: nothing. `known` is a guess at whether it is watched yet:
   curl may close one without a word and be given the same number again. */
bool crux_poller_watch(crux_poller *p, int fd, bool in, bool out, bool known);

/* Waits at most `seconds` (negative: for ever). The number of descriptors ready, at most `max`; -1 with errno. */
int crux_poller_wait(crux_poller *p, double seconds, crux_ready *ready, int max);

/* Seconds as the milliseconds that poll and curl count in: rounded up, so that nobody spins through the last one. */
int crux_milliseconds(double seconds);

#endif
