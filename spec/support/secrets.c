/* A Lua module: which bytes a crux_config leaves in freed memory. Compiled with csrc/http/config.c
   by spec/support/forks.lua, for the Lua that runs it. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *secret;
static size_t size; /* of the block that was asked for last */
static bool left;

/* Replace malloc() and free() for config.c. The block is cleared: all of it is read later, and
   valgrind reports reads of uninitialized bytes. */
static void *note_and_allocate(size_t wanted) {
  size = wanted;
  return calloc(1, wanted);
}

static void look_and_free(void *block) {
  size_t len = secret ? strlen(secret) : 0, i;
  for (i = 0; secret && i + len <= size; i++) {
    if (memcmp((char *)block + i, secret, len) == 0) left = true;
  }
  free(block);
}

#define malloc note_and_allocate
#define free look_and_free
#include "../../csrc/http/config.c"
#undef malloc
#undef free
#include "../../csrc/http/buffer.c"

#include <lauxlib.h>
#include <lua.h>

/* leaves(token, proxy, secret) → whether a config of these leaves the secret behind */
static int leaves(lua_State *L) {
  crux_settings s;
  memset(&s, 0, sizeof s);
  s.origin = "https://127.0.0.1";
  s.prefix = s.api_prefix = "";
  s.token = luaL_checkstring(L, 1);
  s.proxy = luaL_checkstring(L, 2);
  left = false;
  secret = luaL_checkstring(L, 3);
  crux_config_release(crux_config_new(&s, "crux", 1));
  lua_pushboolean(L, left);
  return 1;
}

int luaopen_secrets(lua_State *L);

int luaopen_secrets(lua_State *L) {
  lua_pushcfunction(L, leaves);
  return 1;
}
