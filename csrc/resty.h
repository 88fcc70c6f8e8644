/* resty: how what has ended reaches nginx's event loop. One descriptor for each nginx worker process wakes it, however
   many Lua states the process has; the semaphore that a light thread waits on is then posted from here, without Lua. */
#ifndef CRUX_RESTY_H
#define CRUX_RESTY_H

#include "inbox.h"

/* An inbox whose owner runs inside nginx; zeroed while it is nobody's guest. Everything here is for nginx's own thread. */
typedef struct crux_guest {
  crux_inbox *inbox;
  int (*post)(void *semaphore, int count);
  unsigned generation;
  struct crux_guest *next, **link;
} crux_guest;

/* From now on an attempt that ends posts its `waiter`, an ngx.semaphore of that subsystem ("http" or "stream").
   False: this nginx does not export what it takes. */
bool crux_resty_attend(crux_guest *guest, crux_inbox *inbox, const char *subsystem);
/* The inbox is about to be closed. */
void crux_resty_leave(crux_guest *guest);

#endif
