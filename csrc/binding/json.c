/* json: a private lua-cjson instance, and UTF-8. */
#include "json.h"

#include <langinfo.h>
#include <stdint.h>
#include <string.h>

/* Deep enough for any order, and shallow enough for the C stack of a coroutine. */
#define MAX_DEPTH 100

/* Calls a function of the instance that sets an option, if this version of lua-cjson has it.
   -1 is passed as false. */
static void set_option(lua_State *L, int cjson, const char *name, int argument) {
  lua_getfield(L, cjson, name);
  if (lua_isfunction(L, -1)) {
    if (argument < 0) lua_pushboolean(L, 0);
    else lua_pushinteger(L, argument);
    lua_call(L, 1, 0);
  } else lua_pop(L, 1);
}

static void copy_to_slot(lua_State *L, int state, int cjson, const char *name, int slot) {
  lua_getfield(L, cjson, name);
  lua_rawseti(L, state, slot);
}

/* Programs change the options of the shared instance, so crux makes its own. An instance reads
   the locale's decimal point when it is made; the state table remembers it. */
static void make_instance(lua_State *L, int state) {
  int cjson;
  lua_rawgeti(L, state, CRUX_SLOT_NEW);
  lua_call(L, 0, 1);
  cjson = lua_gettop(L);
  set_option(L, cjson, "decode_invalid_numbers", -1);
  set_option(L, cjson, "decode_max_depth", MAX_DEPTH);
  copy_to_slot(L, state, cjson, "decode", CRUX_SLOT_DECODE);
  copy_to_slot(L, state, cjson, "null", CRUX_SLOT_NULL);
  lua_pushinteger(L, (unsigned char)*nl_langinfo(RADIXCHAR));
  lua_rawseti(L, state, CRUX_SLOT_DECIMAL_POINT);
  lua_pop(L, 1);
  /* made after the instance: when the lua_State is closed, finalizers run in reverse order, so
     that this one runs before the instance's */
  crux_new_object_at(L, state, sizeof(bool), CRUX_CLASS_GUARD);
  lua_rawseti(L, state, CRUX_SLOT_GUARD);
}

static int guard_gc(lua_State *L) {
  *(bool *)crux_check(L, 1, CRUX_CLASS_GUARD) = true;
  return 0;
}

bool crux_json_is_gone(lua_State *L) {
  return *(const bool *)crux_object_in(L, CRUX_SLOT_GUARD);
}

void crux_json_setup(lua_State *L) {
  int state = lua_gettop(L);
  crux_new_class(L, CRUX_CLASS_GUARD, guard_gc, NULL);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cjson");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "new");
  lua_rawseti(L, state, CRUX_SLOT_NEW);
  lua_pop(L, 1);
  make_instance(L, state);
}

/* --- decoding --- */

/* After the closing quote of a string in a valid JSON text; `p` is after the opening one. */
static const char *after_string(const char *p, const char *end) {
  const char *quote, *backslash;
  while ((quote = memchr(p, '"', (size_t)(end - p)))) {
    backslash = quote;
    while (backslash > p && backslash[-1] == '\\') backslash--;
    if ((quote - backslash) % 2 == 0) return quote + 1;
    p = quote + 1; /* it is escaped: an odd number of backslashes precedes it */
  }
  return end;
}

/* Whether a valid JSON text has a number in it: a digit outside its strings. */
static bool has_number(const char *p, size_t len) {
  const char *end = p + len;
  while (p < end) {
    char c = *p++;
    if (c >= '0' && c <= '9') return true;
    if (c == '"') p = after_string(p, end);
  }
  return false;
}

/* Replaces the floats in a decoded table by integers, where they are integral; lua-cjson decodes
   every number to a float. */
static void make_integers(lua_State *L, int table, int depth) {
  if (depth > MAX_DEPTH) return; /* this lua-cjson has no decode_max_depth */
  luaL_checkstack(L, 4, "JSON nested too deeply");
  lua_pushnil(L);
  while (lua_next(L, table)) {
    if (lua_type(L, -1) == LUA_TTABLE) make_integers(L, lua_gettop(L), depth + 1);
    else if (lua_type(L, -1) == LUA_TNUMBER) {
      lua_pushvalue(L, -2);
      crux_push_as_integer(L, -2);
      lua_rawset(L, table);
    }
    lua_pop(L, 1);
  }
}

static void convert_numbers(lua_State *L, const char *text, size_t len) {
  if (!CRUX_HAS_INTEGERS || !has_number(text, len)) return;
  if (lua_type(L, -1) == LUA_TTABLE) make_integers(L, lua_gettop(L), 1);
  else if (lua_type(L, -1) == LUA_TNUMBER) {
    crux_push_as_integer(L, -1);
    lua_remove(L, -2);
  }
}

/* Why the text is not given to lua-cjson, or NULL. */
static const char *unfit(lua_State *L, const char *text, size_t len) {
  if (crux_json_is_gone(L)) return "the Lua state is being closed";
  if (memchr(text, '\0', len)) return "a NUL byte";
  return crux_is_utf8(text, len) ? NULL : "not UTF-8";
}

/* setlocale may have been called since the instance was made. */
static void renew_instance(lua_State *L) {
  lua_Integer point = (unsigned char)*nl_langinfo(RADIXCHAR);
  crux_pushslot(L, CRUX_SLOT_DECIMAL_POINT);
  if (lua_tointeger(L, -1) != point) {
    lua_pushvalue(L, lua_upvalueindex(1));
    make_instance(L, lua_gettop(L));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

bool crux_json_decode(lua_State *L, int index) {
  size_t len;
  const char *text = lua_tolstring(L, index, &len), *why = unfit(L, text, len);
  int status;
  if (why) {
    lua_pushstring(L, why);
    return false;
  }
  renew_instance(L);
  crux_pushslot(L, CRUX_SLOT_DECODE);
  lua_pushvalue(L, index);
  status = lua_pcall(L, 1, 1, 0);
  if (status == LUA_ERRMEM) lua_error(L);
  if (status != 0) return false;
  convert_numbers(L, text, len);
  return true;
}

/* --- UTF-8 --- */

/* How many of the first bytes are ASCII, in steps of 8. */
static size_t ascii_prefix(const unsigned char *p, size_t len) {
  size_t at = 0;
  uint64_t word;
  for (; len - at >= sizeof word; at += sizeof word) {
    memcpy(&word, p + at, sizeof word);
    if (word & UINT64_C(0x8080808080808080)) break;
  }
  return at;
}

bool crux_is_utf8(const char *s, size_t len) {
  const unsigned char *p = (const unsigned char *)s, *end = p + len;
  p += ascii_prefix(p, len);
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
