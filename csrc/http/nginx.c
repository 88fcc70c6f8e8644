#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "nginx.h"

#include "../os/process.h"
#include "../os/wakeup.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

/* nginx's own, seen from outside; its headers would tie the module to one build of it. The signature has been the same
   from 0.7.67 on. The event is NGX_READ_EVENT, which nginx fixes when it is compiled. */
typedef void event_handler(void *event);
typedef intptr_t add_channel_event(void *cycle, int fd, intptr_t event, event_handler *handler);

#if defined(__linux__)
#define READ_EVENT 0x2001 /* EPOLLIN | EPOLLRDHUP */
#else
#define READ_EVENT (-1) /* EVFILT_READ */
#endif

static struct {
  crux_wakeup wake;
  unsigned generation;
  bool hung;
  crux_subscriber *guests;
} bell = { { -1, -1 }, 0, false, NULL };

/* Posting only puts an event into nginx's queue: the light threads run once all of this is over. */
static void on_ring(void *event) {
  crux_subscriber *guest;
  (void)event;
  crux_wakeup_clear(&bell.wake);
  for (guest = bell.guests; guest; guest = guest->next) {
    crux_transfer *t = crux_inbox_take_all(guest->inbox);
    while (t) {
      crux_transfer *next = t->queued;
      if (t->waiter) guest->post(t->waiter, 1);
      crux_transfer_release(t);
      t = next;
    }
  }
}

/* A descriptor that came through a fork is the parent's; so are the guests. */
static bool hang(void) {
  add_channel_event *add;
  void **cycle;
  if (bell.hung && bell.generation == crux_process_generation()) return true;
  *(void **)&add = dlsym(RTLD_DEFAULT, "ngx_add_channel_event");
  cycle = dlsym(RTLD_DEFAULT, "ngx_cycle");
  if (!add || !cycle || !*cycle) return false;
  crux_wakeup_close(&bell.wake);
  bell.guests = NULL;
  bell.generation = crux_process_generation();
  bell.hung = crux_wakeup_open(&bell.wake) && add(*cycle, bell.wake.in, READ_EVENT, on_ring) == 0;
  return bell.hung;
}

bool crux_nginx_subscribe(crux_subscriber *guest, crux_inbox *inbox, const char *subsystem) {
  char name[64];
  if (guest->inbox && guest->generation == crux_process_generation()) return true;
  snprintf(name, sizeof name, "ngx_%s_lua_ffi_sema_post", subsystem);
  *(void **)&guest->post = dlsym(RTLD_DEFAULT, name);
  if (!guest->post || !hang()) return false;
  guest->inbox = inbox;
  guest->generation = bell.generation;
  guest->next = bell.guests;
  guest->link = &bell.guests;
  if (guest->next) guest->next->link = &guest->next;
  bell.guests = guest;
  crux_inbox_redirect(inbox, &bell.wake);
  return true;
}

void crux_nginx_unsubscribe(crux_subscriber *guest) {
  if (!guest->inbox) return;
  guest->inbox = NULL;
  if (guest->generation != bell.generation) return;
  *guest->link = guest->next;
  if (guest->next) guest->next->link = guest->link;
}
