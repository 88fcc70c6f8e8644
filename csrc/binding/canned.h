/* canned: attempts that come to what the caller says, without a connection: those of crux.mock. */
#ifndef CRUX_BINDING_CANNED_H
#define CRUX_BINDING_CANNED_H

#include "state.h"

/* core.perform_canned(request, token or nil, seconds left, received or nil, fault or nil) → as
   core.perform: `received` is what the server sends before it closes the connection; without it,
   `fault` names what happens instead. `meta.time.total` is how long that takes. */
int crux_perform_canned(lua_State *L);
/* core.start_canned(request, token or nil, seconds left, number, received or nil, fault or nil) →
   true, and the seconds after which core.deliver_canned has to be called, if any; false, err; or
   nothing, as request:start does. */
int crux_start_canned(lua_State *L);
/* core.deliver_canned(request): its attempt ends now, unless it was aborted. */
int crux_deliver_canned(lua_State *L);
/* core.awaits_delivery(request) → whether it has such an attempt */
int crux_awaits_delivery(lua_State *L);
/* core.unknown_field(path, name, known names) → the err about a field that is none of these */
int crux_unknown_field(lua_State *L);

#endif
