/* nginx: tells nginx's event loop of attempts that have ended. One descriptor for each nginx worker
   process wakes it, however many Lua states the process has; the semaphores that light threads
   wait on are then posted from C, without Lua. */
#ifndef CRUX_NGINX_H
#define CRUX_NGINX_H

#include "inbox.h"

/* An inbox whose owner runs inside nginx; zeroed before it subscribes. Only nginx's own thread
   uses subscribers. */
typedef struct crux_subscriber {
  crux_inbox *inbox; /* NULL unless it has subscribed */
  int (*post)(void *semaphore, int count);
  unsigned generation;
  struct crux_subscriber *next, **link;
} crux_subscriber;

/* From now on an attempt that ends posts its `waiter`, an ngx.semaphore of that subsystem ("http"
   or "stream"). False: this nginx does not export the functions that are needed. */
bool crux_nginx_subscribe(crux_subscriber *subscriber, crux_inbox *inbox, const char *subsystem);
/* Must be called before the inbox is closed. */
void crux_nginx_unsubscribe(crux_subscriber *subscriber);

#endif
