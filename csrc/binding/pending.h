/* pending: attempts that do not block. Those that do: perform.h. */
#ifndef CRUX_BINDING_PENDING_H
#define CRUX_BINDING_PENDING_H

#include "state.h"

/* core.inbox() → inbox */
int crux_new_inbox(lua_State *L);
/* Makes the classes of inboxes and requests, in the state table, on top. */
void crux_pending_setup(lua_State *L);

#endif
