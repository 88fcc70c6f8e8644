/* poller: waits until descriptors are ready: epoll(7) where there is one, poll(2) elsewhere. */
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
  void *owner;              /* for crux_poller_owner; NULL: the descriptor is not watched */
  bool in, out;             /* watched for reading, for writing */
  bool known_in, known_out; /* as `in` and `out`, but as the epoll set has it */
} crux_watch;

typedef struct {
  crux_watch *watches; /* the index is the descriptor */
  size_t capacity;     /* of `watches` */
#ifdef CRUX_EPOLL
  crux_descriptor epoll;
#endif
} crux_poller;

/* A descriptor that is ready. */
typedef struct {
  int fd;
  bool in, out, err; /* readable, writable, in error */
} crux_ready;

bool crux_poller_init(crux_poller *p);
void crux_poller_free(crux_poller *p);

/* Changes what a descriptor is watched for, and its owner. With neither `in` nor `out` it is no
   longer watched. False without memory, or if epoll_ctl(2) fails: it is not watched then. */
bool crux_poller_watch(crux_poller *p, int fd, bool in, bool out, void *owner);

/* The present owner of a descriptor, NULL if it is not watched. A descriptor that crux_poller_wait
   reported may have been closed since, while others of the same report were served. */
void *crux_poller_owner(const crux_poller *p, int fd);

/* Waits at most `seconds` (negative: for ever). Returns how many descriptors are ready, or -1 with
   errno. */
int crux_poller_wait(crux_poller *p, double seconds, crux_ready ready[CRUX_READY_MAX]);

/* Converts seconds to the milliseconds that poll(2) and epoll_wait(2) take. Rounds up: rounding
   down would busy-wait through the last millisecond. */
int crux_milliseconds(double seconds);

#endif
