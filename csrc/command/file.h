/* file: files whose every system call is known, for journals and for tokens that are kept. */
#ifndef CRUX_COMMAND_FILE_H
#define CRUX_COMMAND_FILE_H

#include <lua.h>

/* crux.os.open(path, mode) → file | nil, message, name of the error */
int crux_os_open(lua_State *L);

/* Makes the metatable of files. */
void crux_os_file_setup(lua_State *L);

#endif
