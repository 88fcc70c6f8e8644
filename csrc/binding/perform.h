/* perform: one attempt on the caller's thread, which blocks. Those that do not: pending.h. */
#ifndef CRUX_BINDING_PERFORM_H
#define CRUX_BINDING_PERFORM_H

#include "request.h"

/* Makes an attempt and blocks until it has ended: pushes result | nil, err and returns the number
   of values. The handle is on the stack. `token`: NULL for the client's own. */
int crux_perform(lua_State *L, crux_request_handle *handle, const char *token, double deadline);
/* Ends the attempt that is under way, if there is one. */
void crux_drop_attempt(crux_request_handle *handle);

/* Pushes a handle for a call that ends before Lua code can see the handle. It may have served such
   a call before: a new userdata with a finalizer would cost more than the rest of preparing a
   request. Something has referred to it ever since, so its finalizer has not run. */
crux_request_handle *crux_take_reusable_request(lua_State *L);
/* Releases the request of the handle, which is at `index`, and keeps the handle for the next such
   call. */
void crux_put_reusable_request(lua_State *L, crux_request_handle *handle, int index);

/* Closes those idle connections of blocking calls that the server has closed. The worker does so
   by itself; the connections of blocking calls are watched by no thread. */
void crux_sweep(lua_State *L);

/* core.sleep(seconds); debug hooks run meanwhile, so that Ctrl-C works. */
int crux_sleep(lua_State *L);
/* Runs debug hooks that are due: an interpreter's signal handler for Ctrl-C sets one. Not 0: a
   hook raised the error on top. */
int crux_run_hooks(lua_State *L);

/* Fills the engine and its class into the state table, on top. */
void crux_perform_setup(lua_State *L);

#endif
