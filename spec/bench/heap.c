/* heap: a Lua module for flight.lua. heap.trim() gives malloc's free memory back to the kernel. */
#include <lauxlib.h>
#include <lua.h>
#include <malloc.h>

int luaopen_heap(lua_State *L);

static int trim(lua_State *L) {
  (void)L;
  malloc_trim(0);
  return 0;
}

int luaopen_heap(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, trim);
  lua_setfield(L, -2, "trim");
  return 1;
}
