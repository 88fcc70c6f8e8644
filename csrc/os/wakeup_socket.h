/* wakeup_socket: a wakeup over a unix socket, for somebody who can only connect to a path. The path
   is accessible to this user alone, and removed once they have connected. */
#ifndef CRUX_WAKEUP_SOCKET_H
#define CRUX_WAKEUP_SOCKET_H

#include "wakeup.h"

typedef struct {
  crux_descriptor listener; /* none unless somebody is expected to connect */
  char directory[80], path[84];
  crux_wakeup wakeup; /* writes to who has connected; nothing to read from */
} crux_wakeup_socket;

void crux_wakeup_socket_init(crux_wakeup_socket *s);
/* Makes `path` and listens there. */
bool crux_wakeup_socket_open(crux_wakeup_socket *s);
/* To be called once they have connected, or failed to. */
bool crux_wakeup_socket_accept(crux_wakeup_socket *s);
void crux_wakeup_socket_close(crux_wakeup_socket *s);

#endif
