/* file: see file.h. */
#include "file.h"

#include "../binding/compat.h"
#include "failure.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/file.h>
#include <unistd.h>

#define CLASS "crux.os.file"

typedef struct {
  int fd; /* -1: closed */
} crux_os_file;

static crux_os_file *check_file(lua_State *L) {
  crux_os_file *file = luaL_checkudata(L, 1, CLASS);
  if (file->fd < 0) luaL_error(L, "the file is closed");
  return file;
}

/* true, or what crux_os_failure pushes */
static int done(lua_State *L, bool ok) {
  if (!ok) return crux_os_failure(L, NULL, errno);
  lua_pushboolean(L, 1);
  return 1;
}

static off_t check_offset(lua_State *L, int index) {
  lua_Number value = luaL_checknumber(L, index);
  luaL_argcheck(L, value >= 0 && value <= 9007199254740992.0, index, "not an offset");
  return (off_t)value;
}

/***
Opens a file.
@function open
@tparam string path
@tparam string mode `"create"`: to read and append, and it must not be there yet; its mode is 0600 ·
  `"append"`: to read and append, and it must be there · `"read"`
@treturn[1] crux.os.file
@treturn[2] nil
@treturn[2] string message
@treturn[2] string name of the error, such as `"EEXIST"`
*/
int crux_os_open(lua_State *L) {
  static const char *const modes[] = { "create", "append", "read", NULL };
  static const int flags[] = { O_RDWR | O_APPEND | O_CREAT | O_EXCL, O_RDWR | O_APPEND, O_RDONLY };
  const char *path = luaL_checkstring(L, 1);
  int mode = luaL_checkoption(L, 2, NULL, modes);
  crux_os_file *file = lua_newuserdata(L, sizeof *file);
  file->fd = -1;
  luaL_getmetatable(L, CLASS);
  lua_setmetatable(L, -2);
  do file->fd = open(path, flags[mode] | O_CLOEXEC | O_NOCTTY, 0600);
  while (file->fd < 0 && errno == EINTR);
  return file->fd < 0 ? crux_os_failure(L, path, errno) : 1;
}

/* file:write(text) → true | nil, message, name. After a failure a part of the text may be there. */
static int file_write(lua_State *L) {
  const crux_os_file *file = check_file(L);
  size_t left;
  const char *text = luaL_checklstring(L, 2, &left);
  while (left > 0) {
    ssize_t count = write(file->fd, text, left);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return done(L, false);
    text += count;
    left -= (size_t)count;
  }
  return done(L, true);
}

/* file:read(offset, count) → what is there of that, "" at the end | nil, message, name */
static int file_read(lua_State *L) {
  const crux_os_file *file = check_file(L);
  off_t offset = check_offset(L, 2);
  lua_Number wanted = luaL_checknumber(L, 3);
  ssize_t count;
  char *bytes;
  luaL_argcheck(L, wanted >= 1 && wanted <= 1 << 24, 3, "not a count");
  bytes = lua_newuserdata(L, (size_t)wanted); /* the collector's, if lua_pushlstring raises */
  do count = pread(file->fd, bytes, (size_t)wanted, offset);
  while (count < 0 && errno == EINTR);
  if (count < 0) return done(L, false);
  lua_pushlstring(L, bytes, (size_t)count);
  return 1;
}

/* file:sync() → true, once what was written would outlive a loss of power | nil, message, name */
static int file_sync(lua_State *L) {
  const crux_os_file *file = check_file(L);
  int status;
  do {
#if defined(F_FULLFSYNC)
    /* fsync of macOS leaves the data in the disk's cache; some file systems lack F_FULLFSYNC */
    status = fcntl(file->fd, F_FULLFSYNC);
    if (status < 0 && errno != EINTR && errno != EIO && errno != ENOSPC) status = fsync(file->fd);
#elif defined(_POSIX_SYNCHRONIZED_IO) && _POSIX_SYNCHRONIZED_IO > 0
    status = fdatasync(file->fd);
#else
    status = fsync(file->fd);
#endif
  } while (status < 0 && errno == EINTR);
  return done(L, status == 0);
}

/* file:truncate(size) → true | nil, message, name */
static int file_truncate(lua_State *L) {
  const crux_os_file *file = check_file(L);
  off_t size = check_offset(L, 2);
  int status;
  do status = ftruncate(file->fd, size);
  while (status < 0 && errno == EINTR);
  return done(L, status == 0);
}

/* file:lock() → true | nil, message, "EAGAIN": another process has it. The lock ends with the file
   or the process. */
static int file_lock(lua_State *L) {
  const crux_os_file *file = check_file(L);
  int status;
  do status = flock(file->fd, LOCK_EX | LOCK_NB);
  while (status < 0 && errno == EINTR);
  if (status < 0 && errno == EWOULDBLOCK) errno = EAGAIN;
  return done(L, status == 0);
}

/* file:stat() → as crux.os.stat */
static int file_stat(lua_State *L) {
  struct stat st;
  if (fstat(check_file(L)->fd, &st) < 0) return done(L, false);
  return crux_os_push_status(L, &st);
}

/* file:close() → true | nil, message, name. Idempotent. */
static int file_close(lua_State *L) {
  crux_os_file *file = luaL_checkudata(L, 1, CLASS);
  int fd = file->fd;
  file->fd = -1; /* also after EINTR: whether it is open then is not specified */
  return done(L, fd < 0 || close(fd) == 0 || errno == EINTR);
}

void crux_os_file_setup(lua_State *L) {
  static const luaL_Reg methods[] = {
    { "write", file_write }, { "read", file_read }, { "sync", file_sync },
    { "truncate", file_truncate }, { "lock", file_lock }, { "stat", file_stat },
    { "close", file_close }, { "__gc", file_close }, { NULL, NULL },
  };
  luaL_newmetatable(L, CLASS);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  crux_setfuncs(L, methods, 0);
  lua_pop(L, 1);
}
