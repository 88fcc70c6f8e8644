/* nginx: how what has ended reaches nginx's event loop. One descriptor for each nginx worker
   process wakes it, however many Lua states the process has; the semaphore that a light thread
   waits on is then posted from here, without Lua. */
#ifndef CRUX_NGINX_H
#define CRUX_NGINX_H

#include "inbox.h"

/* An inbox whose owner runs inside nginx; zeroed while it is nobody's subscriber. Everything
   here is for nginx's own thread. */
typedef struct crux_subscriber {
  crux_inbox *inbox;
  int (*post)(void *semaphore, int count);
  unsigned generation;
  struct crux_subscriber *next, **link;
} crux_subscriber;

/* From now on an attempt that ends posts its `waiter`, an ngx.semaphore of that subsystem
   ("http" or "stream"). False: this nginx does not export what it takes. */
bool crux_nginx_subscribe(crux_subscriber *subscriber, crux_inbox *inbox, const char *subsystem);
/* The inbox is about to be closed. */
void crux_nginx_unsubscribe(crux_subscriber *subscriber);

#endif
