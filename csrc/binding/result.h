/* result: from a finished attempt to what a call returns: result | nil, err. */
#ifndef CRUX_BINDING_RESULT_H
#define CRUX_BINDING_RESULT_H

#include "state.h"
#include "../api.h"
#include "../http/transfer.h"

/* Pushes what a call returns after this attempt, and returns the number of values. */
int crux_push_reply(lua_State *L, const crux_endpoint *endpoint, const crux_transfer *t);

#endif
