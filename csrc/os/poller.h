/* poller: which descriptors are ready; epoll where there is one, poll elsewhere. */
#ifndef CRUX_POLLER_H
#define CRUX_POLLER_H

#include "descriptor.h"

#include <stdbool.h>
#include <stddef.h>

#if defined(__linux__) && !defined(CRUX_NO_EPOLL)
#define CRUX_EPOLL 1
#endif

#define CRUX_READY_MAX 64

typedef struct {
  void *owner; /* who is to be told; NULL: nobody */
  bool in, out;
  bool known_in, known_out; /* what the kernel was told */
} crux_watch;

typedef struct {
  crux_watch *watches; /* by descriptor */
  size_t capacity;
#ifdef CRUX_EPOLL
  crux_descriptor epoll;
#endif
} crux_poller;

typedef struct {
  int fd;
  bool in, out, err;
} crux_ready;

bool crux_poller_init(crux_poller *p);
void crux_poller_free(crux_poller *p);

/* Changes what a descriptor is watched for, and for whom; neither in nor out: no longer. False
   without memory, or if the kernel refuses; it is then not watched. */
bool crux_poller_watch(crux_poller *p, int fd, bool in, bool out, void *owner);

/* Who watches the descriptor now: what crux_poller_wait reported may have been closed since, while
   other descriptors of the same report were served. NULL: nobody. */
void *crux_poller_owner(const crux_poller *p, int fd);

/* Waits at most `seconds` (negative: for ever). How many descriptors are ready; -1 with errno. */
int crux_poller_wait(crux_poller *p, double seconds, crux_ready ready[CRUX_READY_MAX]);

/* Seconds as the milliseconds that poll and epoll_wait take. Rounds up: rounding down would
   busy-wait through the last millisecond. */
int crux_milliseconds(double seconds);

#endif
