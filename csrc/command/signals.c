/* signals: see signals.h. */
#include "signals.h"

#include "../binding/compat.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static const struct {
  int number;
  const char *name;
} caught[] = { { SIGINT, "SIGINT" }, { SIGTERM, "SIGTERM" }, { SIGHUP, "SIGHUP" } };

#define CAUGHT (sizeof caught / sizeof *caught)

static volatile sig_atomic_t count, first, raise_at;
static lua_State *volatile state; /* the main thread's; NULL once it is being closed */

/* A Lua state can be closed only with this in its registry. */
static char guard;

static void raise_interrupt(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "interrupted!"); /* as the interpreter's own handler of SIGINT says it */
}

/* The interpreter's own handler of SIGINT also sets a hook: that is allowed at any time. */
static void on_signal(int number) {
  if (count == 0) first = number;
  if (count < SIG_ATOMIC_MAX) count = count + 1;
  if (state && raise_at > 0 && count >= raise_at)
    lua_sethook(state, raise_interrupt, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

static int forget_state(lua_State *L) {
  (void)L;
  state = NULL;
  return 0;
}

/* Has `state` be NULL from when the Lua state is closed. */
static void watch_state(lua_State *L) {
  lua_pushlightuserdata(L, &guard);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_isnil(L, -1)) {
    lua_pushlightuserdata(L, &guard);
    lua_newuserdata(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, forget_state);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
  }
  lua_pop(L, 1);
  state = L;
}

/***
Counts SIGINT, SIGTERM and SIGHUP from now on, instead of dying from them; one that is ignored, as
by `nohup`, stays ignored. SIGPIPE is ignored. A system call that waits returns when a signal comes.
@function catch_signals
@tparam[opt] number raise_at the so many-th signal, and each later one, raises `interrupted!` where
  Lua then is; none does, if left out. Can be called again, to change it
@raise in a coroutine
*/
int crux_os_catch_signals(lua_State *L) {
  struct sigaction action, before;
  size_t i;
  int at = (int)luaL_optnumber(L, 1, 0);
  if (!lua_pushthread(L)) return luaL_error(L, "expected to be called outside of a coroutine");
  watch_state(L);
  raise_at = at;
  memset(&action, 0, sizeof action);
  sigemptyset(&action.sa_mask);
  action.sa_handler = on_signal; /* without SA_RESTART */
  for (i = 0; i < CAUGHT; i++) {
    if (sigaction(caught[i].number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
      sigaction(caught[i].number, &action, NULL);
  }
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, NULL);
  return 0;
}

const char *crux_os_signal_name(int number) {
  size_t i;
  for (i = 0; i < CAUGHT; i++) {
    if (caught[i].number == number) return caught[i].name;
  }
  return NULL;
}

/***
Returns how many signals have come since `catch_signals`.
@function signals
@treturn number
@treturn ?string name of the first: `"SIGINT"`, `"SIGTERM"` or `"SIGHUP"`
@treturn ?number its number
*/
int crux_os_signals(lua_State *L) {
  lua_pushinteger(L, count);
  if (count == 0) return 1;
  lua_pushstring(L, crux_os_signal_name(first));
  lua_pushinteger(L, first);
  return 3;
}
