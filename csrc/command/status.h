/* status: what stat tells of a file, and directories. */
#ifndef CRUX_COMMAND_STATUS_H
#define CRUX_COMMAND_STATUS_H

#include <lua.h>
#include <sys/stat.h>

/* Pushes { kind, mode, size, links, owned }. Returns 1. */
int crux_os_push_status(lua_State *L, const struct stat *st);

/* crux.os.stat(path), crux.os.mkdir(path), crux.os.sync_directory(path) */
int crux_os_stat(lua_State *L);
int crux_os_mkdir(lua_State *L);
int crux_os_sync_directory(lua_State *L);

#endif
