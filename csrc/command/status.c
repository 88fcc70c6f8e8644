/* status: see status.h. */
#include "status.h"

#include "../binding/compat.h"
#include "failure.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static const char *kind_of(mode_t mode) {
  if (S_ISREG(mode)) return "file";
  return S_ISDIR(mode) ? "directory" : "other";
}

int crux_os_push_status(lua_State *L, const struct stat *st) {
  lua_createtable(L, 0, 5);
  lua_pushstring(L, kind_of(st->st_mode));
  lua_setfield(L, -2, "kind");
  lua_pushinteger(L, (lua_Integer)(st->st_mode & 07777));
  lua_setfield(L, -2, "mode");
  lua_pushnumber(L, (lua_Number)st->st_size);
  crux_push_as_integer(L, -1);
  lua_setfield(L, -3, "size");
  lua_pop(L, 1);
  lua_pushinteger(L, (lua_Integer)st->st_nlink);
  lua_setfield(L, -2, "links");
  lua_pushboolean(L, st->st_uid == geteuid());
  lua_setfield(L, -2, "owned");
  return 1;
}

/***
Returns what is known of a file.
@function stat
@tparam string path
@treturn[1] table `kind`: `"file"`, `"directory"` or `"other"`; `mode`: the permissions, as a
  number; `size` in bytes; `links`: how many names it has, 0 once it was removed; `owned`: whether
  its owner is the user of this process
@treturn[2] nil
@treturn[2] string message
@treturn[2] string name of the error, such as `"ENOENT"`
*/
int crux_os_stat(lua_State *L) {
  struct stat st;
  const char *path = luaL_checkstring(L, 1);
  if (stat(path, &st) < 0) return crux_os_failure(L, path, errno);
  return crux_os_push_status(L, &st);
}

/***
Makes a directory that its owner alone may use (mode 0700).
@function mkdir
@tparam string path
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] string name of the error, such as `"EEXIST"`
*/
int crux_os_mkdir(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  if (mkdir(path, 0700) < 0) return crux_os_failure(L, path, errno);
  lua_pushboolean(L, 1);
  return 1;
}

/***
Makes the names in a directory outlive a loss of power.
@function sync_directory
@tparam string path
@treturn[1] boolean true
@treturn[2] nil
@treturn[2] string message
@treturn[2] string name of the error
*/
int crux_os_sync_directory(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  int fd, status, number;
  do fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) return crux_os_failure(L, path, errno);
  do status = fsync(fd);
  while (status < 0 && errno == EINTR);
  number = errno;
  close(fd);
  /* a file system that cannot sync directories says so by EINVAL */
  if (status < 0 && number != EINVAL) return crux_os_failure(L, path, number);
  lua_pushboolean(L, 1);
  return 1;
}
