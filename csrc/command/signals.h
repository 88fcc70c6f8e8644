/* signals: SIGINT, SIGTERM and SIGHUP as a count that Lua reads. */
#ifndef CRUX_COMMAND_SIGNALS_H
#define CRUX_COMMAND_SIGNALS_H

#include <lua.h>

/* crux.os.catch_signals(), crux.os.signals() → count, name of the first */
int crux_os_catch_signals(lua_State *L);
int crux_os_signals(lua_State *L);

#endif
