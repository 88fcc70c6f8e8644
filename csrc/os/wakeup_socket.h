/* wakeup_socket: a wakeup over a unix socket, for a reader that can only connect to a path. The
   directory is accessible to this user alone (mkdtemp(3)), and removed once the reader has
   connected. */
#ifndef CRUX_WAKEUP_SOCKET_H
#define CRUX_WAKEUP_SOCKET_H

#include "wakeup.h"

typedef struct {
  crux_descriptor listener; /* none unless a reader is expected to connect */
  char directory[80];
  char path[84];            /* of the listener's socket, in `directory` */
  crux_wakeup wakeup;       /* its `out` is the reader's connection; it has no `in` */
} crux_wakeup_socket;

void crux_wakeup_socket_init(crux_wakeup_socket *s);
/* Creates `path` and listens there. */
bool crux_wakeup_socket_open(crux_wakeup_socket *s);
/* Call it once the reader has connected, or failed to. False: it has not. Never blocks. */
bool crux_wakeup_socket_accept(crux_wakeup_socket *s);
void crux_wakeup_socket_close(crux_wakeup_socket *s);

#endif
