/* signals: SIGINT, SIGTERM and SIGHUP as a count that Lua reads, and as an error at the second or
   any other of them. */
#ifndef CRUX_COMMAND_SIGNALS_H
#define CRUX_COMMAND_SIGNALS_H

#include <lua.h>

/* crux.os.catch_signals([raise_at]), crux.os.signals() → count, name of the first */
int crux_os_catch_signals(lua_State *L);
int crux_os_signals(lua_State *L);

/* The name of a signal that is caught, or NULL. */
const char *crux_os_signal_name(int number);

#endif
