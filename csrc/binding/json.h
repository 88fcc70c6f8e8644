/* json: lua-cjson, an instance of our own. */
#ifndef CRUX_BINDING_JSON_H
#define CRUX_BINDING_JSON_H

#include "state.h"

/* Fills the state, the table on top, with a private instance's functions. Raises without lua-
   cjson. */
void crux_json_open(lua_State *L);
/* Whether the state is being closed and lua-cjson's own finalizers have run, or may have: it must
   not be called any more. Finalizers of the user's may still make calls. */
bool crux_json_is_gone(lua_State *L);
/* Pushes the value, or nil and why it is none. Integral numbers become integers. */
void crux_json_decode(lua_State *L, const char *text, size_t len);
bool crux_is_utf8(const char *s, size_t len);

#endif
