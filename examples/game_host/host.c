/* host: a minimal game. Its loop of 60 frames per second calls a Lua plugin that cancels orders; at
   the end it prints the longest frame. Usage: host PLUGIN ORDER_UUID... */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <time.h>

#define FRAME 16666667L /* nanoseconds */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Calls the plugin's function, with the string if it is not NULL. Returns the number that the
   function returned, or -1 if it raised an error. */
static double call(lua_State *L, const char *function, const char *argument) {
  double result;
  lua_getglobal(L, function);
  if (argument) lua_pushstring(L, argument);
  if (lua_pcall(L, argument ? 1 : 0, 1, 0) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    return -1;
  }
  result = lua_tonumber(L, -1);
  lua_pop(L, 1);
  return result;
}

int main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  struct timespec rest;
  double longest = 0, left = 1;
  long frames = 0;
  int i;
  luaL_Buffer uuids;
  if (!L || argc < 2) return 2;
  luaL_openlibs(L);
  if (luaL_dofile(L, argv[1]) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    return 1;
  }
  luaL_buffinit(L, &uuids);
  for (i = 2; i < argc; i++) {
    luaL_addstring(&uuids, argv[i]);
    luaL_addchar(&uuids, ' ');
  }
  luaL_pushresult(&uuids);
  if (call(L, "start", lua_tostring(L, -1)) < 0) return 1;
  while (left > 0) {
    double began = now(), took;
    left = call(L, "frame", NULL);
    took = now() - began;
    if (took > longest) longest = took;
    frames++;
    rest.tv_sec = 0;
    rest.tv_nsec = FRAME - (long)(took * 1e9);
    if (rest.tv_nsec > 0) nanosleep(&rest, NULL);
  }
  call(L, "stop", NULL);
  lua_close(L);
  printf("%ld frames, the longest took %.3f ms of 16.667\n", frames, longest * 1e3);
  return left < 0;
}
