/* pending: attempts that do not block. */
#ifndef CRUX_BINDING_PENDING_H
#define CRUX_BINDING_PENDING_H

#include "state.h"

int crux_inbox_open(lua_State *L);
void crux_pending_open(lua_State *L);

#endif
