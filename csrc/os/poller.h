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
  unsigned char *known; /* by descriptor: what it is watched for, and what the kernel was told */
  size_t room;
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

/* Changes what a descriptor is watched for; neither in nor out: nothing. False without memory. */
bool crux_poller_watch(crux_poller *p, int fd, bool in, bool out);

/* The descriptor is new, and crux_poller_forget will be called before it is closed. Of any other, curl may say nothing
   when it closes it, and be given the same number again. False without memory. */
bool crux_poller_adopt(crux_poller *p, int fd);
void crux_poller_forget(crux_poller *p, int fd);

/* Waits at most `seconds` (negative: for ever). The number of descriptors ready, at most `max`; -1 with errno. */
int crux_poller_wait(crux_poller *p, double seconds, crux_ready *ready, int max);

/* Seconds as the milliseconds that poll and curl count in: rounded up, so that nobody spins through the last one. */
int crux_milliseconds(double seconds);

#endif
