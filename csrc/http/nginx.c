/* nginx: wakes the event loop of nginx through functions that its executable exports. */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "nginx.h"

#include "../os/process.h"
#include "../os/wakeup.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

/* The types of nginx's ngx_event_handler_pt and ngx_add_channel_event, whose signature is the same
   since nginx 0.7.67. They are not included from its headers, which would tie the module to one
   build of nginx. READ_EVENT is NGX_READ_EVENT. */
typedef void event_handler(void *event);
typedef intptr_t add_channel_event(void *cycle, int fd, intptr_t event, event_handler *handler);

#if defined(__linux__)
#define READ_EVENT 0x2001 /* EPOLLIN | EPOLLRDHUP */
#else
#define READ_EVENT (-1) /* EVFILT_READ */
#endif

static struct {
  crux_wakeup wakeup;
  unsigned generation;
  bool installed;
  crux_subscriber *subscribers;
} notifier = { CRUX_WAKEUP_CLOSED, 0, false, NULL };

/* Runs in nginx's event loop. To post a semaphore only queues an event: the light threads run after
   this has returned. */
static void on_notify(void *event) {
  crux_subscriber *subscriber;
  (void)event;
  crux_wakeup_clear(&notifier.wakeup);
  for (subscriber = notifier.subscribers; subscriber; subscriber = subscriber->next) {
    crux_transfer *t = crux_inbox_take_all(subscriber->inbox);
    while (t) {
      crux_transfer *next = t->inbox.next;
      if (t->waiter) subscriber->post(t->waiter, 1);
      crux_transfer_release(t);
      t = next;
    }
  }
}

/* Adds the notifier to nginx's event loop, once in a process. After fork() the notifier and its
   subscribers belong to the parent, and the child's are made anew. */
static bool install(void) {
  add_channel_event *add;
  void **cycle;
  if (notifier.installed && notifier.generation == crux_process_generation()) return true;
  *(void **)&add = dlsym(RTLD_DEFAULT, "ngx_add_channel_event");
  cycle = dlsym(RTLD_DEFAULT, "ngx_cycle");
  if (!add || !cycle || !*cycle) return false;
  crux_wakeup_close(&notifier.wakeup);
  notifier.subscribers = NULL;
  notifier.generation = crux_process_generation();
  notifier.installed = crux_wakeup_open(&notifier.wakeup) &&
                       add(*cycle, notifier.wakeup.in.fd, READ_EVENT, on_notify) == 0;
  return notifier.installed;
}

bool crux_nginx_subscribe(crux_subscriber *subscriber, crux_inbox *inbox, const char *subsystem) {
  char name[64];
  if (subscriber->inbox && subscriber->generation == crux_process_generation()) return true;
  snprintf(name, sizeof name, "ngx_%s_lua_ffi_sema_post", subsystem);
  *(void **)&subscriber->post = dlsym(RTLD_DEFAULT, name);
  if (!subscriber->post || !install()) return false;
  subscriber->inbox = inbox;
  subscriber->generation = notifier.generation;
  subscriber->next = notifier.subscribers;
  subscriber->link = &notifier.subscribers;
  if (subscriber->next) subscriber->next->link = &subscriber->next;
  notifier.subscribers = subscriber;
  crux_inbox_redirect(inbox, &notifier.wakeup);
  return true;
}

void crux_nginx_unsubscribe(crux_subscriber *subscriber) {
  if (!subscriber->inbox) return;
  subscriber->inbox = NULL;
  if (subscriber->generation != notifier.generation) return;
  *subscriber->link = subscriber->next;
  if (subscriber->next) subscriber->next->link = subscriber->link;
}
