/* json: see json.h. */
#include "json.h"

#include <locale.h>
#include <string.h>

/* Deep enough for any order, and shallow enough for the C stack of a coroutine. */
#define MAX_DEPTH 100

/* Settings of the instance, and of none but it; a lua-cjson that does not know one does without. */
static void set(lua_State *L, int cjson, const char *name, int argument) {
  lua_getfield(L, cjson, name);
  if (lua_isfunction(L, -1)) {
    if (argument < 0) lua_pushboolean(L, 0);
    else lua_pushinteger(L, argument);
    lua_call(L, 1, 0);
  } else lua_pop(L, 1);
}

static void take(lua_State *L, int state, int cjson, const char *name, int slot) {
  lua_getfield(L, cjson, name);
  lua_rawseti(L, state, slot);
}

/* Hosts set the shared instance as they like, so take one of our own; and as it reads the
   locale's decimal point only when made, remember which that was. */
static void make_instance(lua_State *L, int state) {
  int cjson;
  lua_rawgeti(L, state, CRUX_SLOT_NEW);
  lua_call(L, 0, 1);
  cjson = lua_gettop(L);
  set(L, cjson, "decode_invalid_numbers", -1);
  set(L, cjson, "decode_max_depth", MAX_DEPTH);
  take(L, state, cjson, "decode", CRUX_SLOT_DECODE);
  take(L, state, cjson, "null", CRUX_SLOT_NULL);
  lua_pushinteger(L, (unsigned char)*localeconv()->decimal_point);
  lua_rawseti(L, state, CRUX_SLOT_POINT);
  lua_pop(L, 1);
  /* made after the instance, so its finalizer comes before the instance's */
  *(bool *)lua_newuserdata(L, sizeof(bool)) = false;
  lua_rawgeti(L, state, CRUX_CLASS_GUARD);
  lua_setmetatable(L, -2);
  lua_rawseti(L, state, CRUX_SLOT_GUARD);
}

static int guard_gc(lua_State *L) {
  *(bool *)crux_check(L, 1, CRUX_CLASS_GUARD) = true;
  return 0;
}

bool crux_json_is_gone(lua_State *L) {
  const bool *gone;
  crux_pushslot(L, CRUX_SLOT_GUARD);
  gone = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return *gone;
}

void crux_json_open(lua_State *L) {
  static const luaL_Reg none[] = { { NULL, NULL } };
  int state = lua_gettop(L);
  crux_new_class(L, CRUX_CLASS_GUARD, guard_gc, none);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cjson");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "new");
  lua_rawseti(L, state, CRUX_SLOT_NEW);
  lua_pop(L, 1);
  make_instance(L, state);
}

/* lua-cjson's numbers are floats. */
static void make_integers(lua_State *L, int table, int depth) {
  if (depth > MAX_DEPTH) return;
  luaL_checkstack(L, 4, "JSON nested too deeply");
  lua_pushnil(L);
  while (lua_next(L, table)) {
    if (lua_type(L, -1) == LUA_TTABLE) make_integers(L, lua_gettop(L), depth + 1);
    else if (lua_type(L, -1) == LUA_TNUMBER) {
      lua_pushvalue(L, -2);
      crux_pushwhole(L, lua_tonumber(L, -2));
      lua_rawset(L, table);
    }
    lua_pop(L, 1);
  }
}

void crux_json_decode(lua_State *L, const char *text, size_t len) {
  int status;
  lua_Integer point = (unsigned char)*localeconv()->decimal_point;
  if (crux_json_is_gone(L)) {
    lua_pushnil(L);
    lua_pushliteral(L, "the Lua state is being closed");
    return;
  }
  if (memchr(text, '\0', len) || !crux_is_utf8(text, len)) {
    lua_pushnil(L);
    lua_pushstring(L, memchr(text, '\0', len) ? "a NUL byte" : "not UTF-8");
    return;
  }
  crux_pushslot(L, CRUX_SLOT_POINT);
  if (lua_tointeger(L, -1) != point) {
    lua_pushvalue(L, lua_upvalueindex(1));
    make_instance(L, lua_gettop(L));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  crux_pushslot(L, CRUX_SLOT_DECODE);
  lua_pushlstring(L, text, len);
  status = lua_pcall(L, 1, 1, 0);
  if (status != 0) {
    if (status == LUA_ERRMEM) lua_error(L);
    lua_pushnil(L);
    lua_insert(L, -2);
    return;
  }
  if (lua_type(L, -1) == LUA_TTABLE) make_integers(L, lua_gettop(L), 1);
  else if (lua_type(L, -1) == LUA_TNUMBER) {
    crux_pushwhole(L, lua_tonumber(L, -1));
    lua_remove(L, -2);
  }
  lua_pushnil(L);
}

bool crux_is_utf8(const char *s, size_t len) {
  const unsigned char *p = (const unsigned char *)s, *end = p + len;
  while (p < end) {
    unsigned c = *p++, more, least;
    if (c < 0x80) continue;
    if (c >= 0xC2 && c <= 0xDF) more = 1, least = 0x80, c &= 0x1F;
    else if (c >= 0xE0 && c <= 0xEF) more = 2, least = 0x800, c &= 0x0F;
    else if (c >= 0xF0 && c <= 0xF4) more = 3, least = 0x10000, c &= 0x07;
    else return false;
    for (; more > 0; more--) {
      if (p == end || (*p & 0xC0) != 0x80) return false;
      c = c << 6 | (*p++ & 0x3F);
    }
    if (c < least || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return false;
  }
  return true;
}
