/* result: from a finished attempt to what a call returns: result | nil, err. */
#ifndef CRUX_BINDING_RESULT_H
#define CRUX_BINDING_RESULT_H

#include "state.h"
#include "../http/transfer.h"

int crux_push_reply(lua_State *L, crux_transfer *t);
/* Pushes the account of an attempt; NULL: of none. */
void crux_push_meta(lua_State *L, const crux_transfer *t);

#endif
