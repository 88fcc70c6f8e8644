/* perform: one attempt on the caller's thread. */
#ifndef CRUX_BINDING_PERFORM_H
#define CRUX_BINDING_PERFORM_H

#include "request.h"

/* Pushes what came of it and returns the number of values. The handle is somewhere on the stack. */
int crux_perform(lua_State *L, crux_request_handle *handle, const char *token, double deadline);
/* Ends the attempt that is under way, if one is. */
void crux_drop_attempt(crux_request_handle *handle);
/* Pushes a handle for a call that is over before Lua gets to see it: one that served such a
   call before, if there is one. It was on the stack all the while, so no finalizer can have
   been due. */
crux_request_handle *crux_take_spare(lua_State *L);
/* Such a call is over: releases the request of the handle at `index`, for the next to use. */
void crux_put_spare(lua_State *L, crux_request_handle *handle, int index);
/* Closes the idle connections of blocking calls that the server has closed: no thread watches
   them. */
void crux_sweep(lua_State *L);
int crux_sleep(lua_State *L);
/* Lets hooks run, and with them what a signal handler has set; not 0: one raised the error on
   top. */
int crux_run_hooks(lua_State *L);
void crux_blocking_open(lua_State *L);

#endif
