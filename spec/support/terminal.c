/* A Lua module: programs at a pseudo-terminal of their own, for specs of what people see. Compiled
   by spec/support/terminal.lua. */
#define _GNU_SOURCE
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* spawn(command of a shell, columns) → descriptor of the terminal's other side, pid */
static int spawn(lua_State *L) {
  const char *command = luaL_checkstring(L, 1);
  struct winsize size;
  int master;
  pid_t pid;
  memset(&size, 0, sizeof size);
  size.ws_col = (unsigned short)luaL_checkinteger(L, 2);
  size.ws_row = 24;
  pid = forkpty(&master, NULL, NULL, &size);
  if (pid < 0) return luaL_error(L, "forkpty: %s", strerror(errno));
  if (pid == 0) {
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
  }
  lua_pushinteger(L, master);
  lua_pushinteger(L, (lua_Integer)pid);
  return 2;
}

/* read(descriptor, seconds) → bytes; "" if none came in that time; nil once nobody has the terminal
   open any more */
static int read_some(lua_State *L) {
  char bytes[4096];
  struct pollfd p;
  ssize_t count;
  p.fd = (int)luaL_checkinteger(L, 1);
  p.events = POLLIN;
  if (poll(&p, 1, (int)(luaL_checknumber(L, 2) * 1000)) == 0) {
    lua_pushliteral(L, "");
    return 1;
  }
  do count = read(p.fd, bytes, sizeof bytes);
  while (count < 0 && errno == EINTR);
  if (count <= 0) return 0; /* Linux: EIO at the end */
  lua_pushlstring(L, bytes, (size_t)count);
  return 1;
}

/* write(descriptor, bytes): as if typed */
static int write_all(lua_State *L) {
  size_t length;
  const char *bytes = luaL_checklstring(L, 2, &length);
  if (write((int)luaL_checkinteger(L, 1), bytes, length) != (ssize_t)length)
    return luaL_error(L, "write: %s", strerror(errno));
  return 0;
}

/* echo(descriptor) → whether what is typed shows */
static int echo(lua_State *L) {
  struct termios settings;
  if (tcgetattr((int)luaL_checkinteger(L, 1), &settings) < 0)
    return luaL_error(L, "tcgetattr: %s", strerror(errno));
  lua_pushboolean(L, (settings.c_lflag & ECHO) != 0);
  return 1;
}

/* close(descriptor): the terminal hangs up */
static int hang_up(lua_State *L) {
  close((int)luaL_checkinteger(L, 1));
  return 0;
}

int luaopen_terminal(lua_State *L);

int luaopen_terminal(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, spawn);
  lua_setfield(L, -2, "spawn");
  lua_pushcfunction(L, read_some);
  lua_setfield(L, -2, "read");
  lua_pushcfunction(L, write_all);
  lua_setfield(L, -2, "write");
  lua_pushcfunction(L, echo);
  lua_setfield(L, -2, "echo");
  lua_pushcfunction(L, hang_up);
  lua_setfield(L, -2, "close");
  return 1;
}
