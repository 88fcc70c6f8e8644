/* failure: see failure.h. */
#include "failure.h"

#include <errno.h>
#include <string.h>

/* The errors that callers tell apart, or that a journal's file is likely to meet. */
static const struct {
  int number;
  const char *name;
} names[] = {
  { EACCES, "EACCES" }, { EAGAIN, "EAGAIN" }, { EBADF, "EBADF" },   { EDQUOT, "EDQUOT" },
  { EEXIST, "EEXIST" }, { EINTR, "EINTR" },   { EINVAL, "EINVAL" }, { EIO, "EIO" },
  { EISDIR, "EISDIR" }, { ELOOP, "ELOOP" },   { ENOENT, "ENOENT" }, { ENOSPC, "ENOSPC" },
  { ENOTDIR, "ENOTDIR" }, { ENOTTY, "ENOTTY" }, { ENXIO, "ENXIO" }, { EPERM, "EPERM" },
  { EROFS, "EROFS" },
};

int crux_os_failure(lua_State *L, const char *what, int number) {
  size_t i;
  lua_pushnil(L);
  if (what) lua_pushfstring(L, "%s: %s", what, strerror(number));
  else lua_pushstring(L, strerror(number));
  for (i = 0; i < sizeof names / sizeof *names; i++) {
    if (names[i].number == number) {
      lua_pushstring(L, names[i].name);
      return 3;
    }
  }
  lua_pushfstring(L, "%d", number);
  return 3;
}
