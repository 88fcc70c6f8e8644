/* json: a private lua-cjson instance, and UTF-8. */
#ifndef CRUX_BINDING_JSON_H
#define CRUX_BINDING_JSON_H

#include "state.h"

/* Fills the functions of a new instance into the state table, on top. Raises if lua-cjson is not
   installed. */
void crux_json_setup(lua_State *L);
/* Whether the lua_State is being closed and lua-cjson's finalizers have run, or may have: then
   lua-cjson must not be called any more. Finalizers of the user's may still make calls. */
bool crux_json_is_gone(lua_State *L);
/* Pushes the value of the JSON text at an index, which is absolute and of a string, and returns
   true; or pushes why there is none and returns false. On Lua 5.3 and later, integral numbers of
   at most 2^53 become integers. */
bool crux_json_decode(lua_State *L, int index);
bool crux_is_utf8(const char *s, size_t len);

#endif
