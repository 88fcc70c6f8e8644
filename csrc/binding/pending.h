/* pending: attempts that do not block. Those that do: perform.h. */
#ifndef CRUX_BINDING_PENDING_H
#define CRUX_BINDING_PENDING_H

#include "request.h"
#include "../http/inbox.h"

/* core.inbox() → inbox */
int crux_new_inbox(lua_State *L);
/* The inbox for an attempt of the call; NULL if the call is over, its client closed or this a
   forked child. */
crux_inbox *crux_open_inbox(crux_request_handle *handle);
/* Pushes false and the err of an attempt that cannot start, and returns their number. */
int crux_refuse_start(lua_State *L, crux_kind kind, const char *message);
/* Makes the classes of inboxes and requests, in the state table, on top. */
void crux_pending_setup(lua_State *L);

#endif
