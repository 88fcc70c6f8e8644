/* terminal: what a program has to know of its terminal, and a question without echo. */
#ifndef CRUX_COMMAND_TERMINAL_H
#define CRUX_COMMAND_TERMINAL_H

#include <lua.h>

/* crux.os.isatty(fd), crux.os.width(fd), crux.os.prompt(text[, echo]) */
int crux_os_isatty(lua_State *L);
int crux_os_width(lua_State *L);
int crux_os_prompt(lua_State *L);

#endif
