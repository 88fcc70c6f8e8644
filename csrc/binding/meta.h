/* meta: the account of what was sent, and of how long it took. */
#ifndef CRUX_BINDING_META_H
#define CRUX_BINDING_META_H

#include "state.h"
#include "../http/transfer.h"

/* Pushes `meta` of an attempt; with NULL, of a call that made none. */
void crux_push_meta(lua_State *L, const crux_transfer *t);

#endif
