/* rendezvous: a wake for somebody who can only connect to a path. The path is in reach of this user alone, and gone once
   they have met. */
#ifndef CRUX_WAKEUP_SOCKET_H
#define CRUX_WAKEUP_SOCKET_H

#include "wakeup.h"

typedef struct {
  int listener; /* -1 unless somebody is waited for */
  char directory[80], path[84];
  crux_wakeup wake;
} crux_wakeup_socket;

void crux_wakeup_socket_init(crux_wakeup_socket *r);
/* Opens `path`. */
bool crux_wakeup_socket_open(crux_wakeup_socket *r);
/* To be called once they have connected, or failed to: `wake` writes to them. */
bool crux_wakeup_socket_accept(crux_wakeup_socket *r);
void crux_wakeup_socket_close(crux_wakeup_socket *r);

#endif
