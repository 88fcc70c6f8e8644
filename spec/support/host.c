/* host: the stock lua5.4 interpreter as a program that can be built with a sanitizer.

   Usage: host [-e chunk] [-l name] [script [args]]. It links all of liblua and exports it, so that C
   modules load as they do into lua5.4.

   Scripts find a module `host` here, for sweeps over everything that can fail (n = 1, 2, ... until
   nothing failed):
     host.starve(n, f, ...) -> count, ok, ...
       pcall in which Lua's nth allocation fails, and how many allocations there were
     host.fail(n, f, ...) -> count, name, ok, ...
       pcall in which core.so's nth fallible C call fails, and its name or nil
     host.state(source, ...) -> ...
       runs a chunk in a new Lua state, which is then closed; arguments and results are booleans,
       numbers, strings and nil
   With n = 0 the first two only count. Lua answers a failed allocation with a collection and a
   second try: both fail. */
#include "failing.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
  long fail_at; /* negative: not counting */
  long count;
} starving = {-1, 0};

static void *allocate(void *ud, void *block, size_t old_size, size_t new_size) {
  (void)ud;
  if (new_size == 0) {
    free(block);
    return NULL;
  }
  /* For a new block old_size is the kind of object. To shrink a block never fails: Lua counts on
     it. */
  if (starving.fail_at >= 0 && (block == NULL || new_size > old_size)) {
    long n = ++starving.count;
    if (starving.fail_at > 0 && (n == starving.fail_at || n == starving.fail_at + 1)) return NULL;
  }
  return realloc(block, new_size);
}

static int host_starve(lua_State *L) {
  int status;
  long n = (long)luaL_checkinteger(L, 1);
  luaL_checkany(L, 2);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  starving.count = 0;
  starving.fail_at = n;
  status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
  starving.fail_at = -1;
  lua_pushinteger(L, starving.count);
  lua_replace(L, 1);
  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, 2);
  return lua_gettop(L);
}

static int host_fail(lua_State *L) {
  int status;
  const char *name;
  long n = (long)luaL_checkinteger(L, 1);
  luaL_checkany(L, 2);
  failing_start(n);
  status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
  lua_pushinteger(L, failing_stop(&name));
  lua_replace(L, 1);
  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, 2);
  lua_pushstring(L, name);
  lua_insert(L, 2);
  return lua_gettop(L);
}

static void copy(lua_State *from, int index, lua_State *to) {
  size_t len;
  const char *text;
  switch (lua_type(from, index)) {
    case LUA_TBOOLEAN: lua_pushboolean(to, lua_toboolean(from, index)); return;
    case LUA_TNUMBER: lua_pushnumber(to, lua_tonumber(from, index)); return;
    case LUA_TSTRING:
      text = lua_tolstring(from, index, &len);
      lua_pushlstring(to, text, len);
      return;
    default: lua_pushnil(to); return;
  }
}

static int open_host(lua_State *L);

/* The calling state is an argument. */
static int run_in_state(lua_State *L) {
  lua_State *from = lua_touserdata(L, 1);
  size_t len;
  const char *source = luaL_checklstring(from, 1, &len);
  int i;
  luaL_openlibs(L);
  luaL_requiref(L, "host", open_host, 0);
  lua_settop(L, 0);
  luaL_checkstack(L, lua_gettop(from) + LUA_MINSTACK, NULL);
  if (luaL_loadbuffer(L, source, len, "=state")) return lua_error(L);
  for (i = 2; i <= lua_gettop(from); i++) copy(from, i, L);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static int host_state(lua_State *L) {
  int status, i, count;
  lua_State *other = lua_newstate(allocate, NULL);
  if (other == NULL) return luaL_error(L, "not enough memory");
  lua_pushcfunction(other, run_in_state);
  lua_pushlightuserdata(other, L);
  status = lua_pcall(other, 1, LUA_MULTRET, 0);
  count = lua_gettop(other);
  luaL_checkstack(L, count + LUA_MINSTACK, NULL);
  for (i = 1; i <= count; i++) copy(other, i, L);
  lua_close(other);
  return status == LUA_OK ? count : lua_error(L);
}

static int open_host(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"starve", host_starve}, {"fail", host_fail}, {"state", host_state}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

/* Modules stay mapped after lua_close, so that a leak's stack has names. Takes the place of libc's
   for liblua too. */
int dlclose(void *handle);
int dlclose(void *handle) {
  (void)handle;
  return 0;
}

static lua_State *interrupted;

static void raise_interrupt(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "interrupted!");
}

static void on_interrupt(int signal_number) {
  signal(signal_number, SIG_DFL);
  lua_sethook(interrupted, raise_interrupt, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static int traceback(lua_State *L) {
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

static int call(lua_State *L, int arguments) {
  int status;
  int base = lua_gettop(L) - arguments;
  lua_pushcfunction(L, traceback);
  lua_insert(L, base);
  interrupted = L;
  signal(SIGINT, on_interrupt);
  status = lua_pcall(L, arguments, 0, base);
  signal(SIGINT, SIG_DFL);
  lua_remove(L, base);
  return status;
}

static int run(lua_State *L, int argc, char **argv) {
  int i = 1;
  int k;
  for (; i + 1 < argc && (strcmp(argv[i], "-e") == 0 || strcmp(argv[i], "-l") == 0); i += 2) {
    if (argv[i][1] == 'e') {
      if (luaL_loadbuffer(L, argv[i + 1], strlen(argv[i + 1]), "=(command line)") || call(L, 0)) return 1;
    } else {
      lua_getglobal(L, "require");
      lua_pushstring(L, argv[i + 1]);
      if (call(L, 1)) return 1;
    }
  }
  if (i == argc && i > 1) return 0;
  lua_createtable(L, argc, i + 1);
  for (k = 0; k < argc; k++) {
    lua_pushstring(L, argv[k]);
    lua_rawseti(L, -2, k - i);
  }
  lua_setglobal(L, "arg");
  if (luaL_loadfile(L, i == argc || strcmp(argv[i], "-") == 0 ? NULL : argv[i])) return 1;
  luaL_checkstack(L, argc, NULL);
  for (k = i + 1; k < argc; k++) lua_pushstring(L, argv[k]);
  return call(L, argc > i ? argc - i - 1 : 0);
}

int main(int argc, char **argv) {
  int status;
  lua_State *L = lua_newstate(allocate, NULL);
  if (L == NULL) return EXIT_FAILURE;
  luaL_openlibs(L);
  lua_gc(L, LUA_GCGEN, 0, 0);
  luaL_requiref(L, "host", open_host, 0);
  lua_settop(L, 0);
  status = run(L, argc, argv);
  if (status) fprintf(stderr, "%s: %s\n", argv[0], lua_tostring(L, -1));
  lua_close(L);
  return status ? EXIT_FAILURE : EXIT_SUCCESS;
}
