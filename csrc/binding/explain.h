/* explain: the message and the hint of an attempt that failed. */
#ifndef CRUX_BINDING_EXPLAIN_H
#define CRUX_BINDING_EXPLAIN_H

#include "state.h"
#include "../api.h"
#include "../http/transfer.h"

/* Both with the error on top, whose `detail`, `fields` and `retry_after` are set. */
void crux_set_message(lua_State *L, const crux_endpoint *endpoint, const crux_transfer *t);
void crux_set_hint(lua_State *L, const crux_endpoint *endpoint, const crux_transfer *t);
/* Pushes what to do after an unknown outcome. */
void crux_push_unknown_hint(lua_State *L, const crux_endpoint *endpoint);

#endif
