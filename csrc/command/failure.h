/* failure: how functions of crux.os tell that a system call has failed. */
#ifndef CRUX_COMMAND_FAILURE_H
#define CRUX_COMMAND_FAILURE_H

#include <lua.h>

/* Pushes nil, "WHAT: text of errno" and the name of errno, such as "EEXIST"; other than by name,
   its number as text. Returns 3. `what` may be NULL. */
int crux_os_failure(lua_State *L, const char *what, int number);

#endif
