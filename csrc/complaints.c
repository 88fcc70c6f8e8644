#include "upper.h"

#include <stdlib.h>
#include <string.h>

/* Appends the text on top to fields[path], path being the string at `path`; pops it. */
static void add_complaint(lua_State *L, int fields, int path) {
  lua_pushvalue(L, path);
  lua_rawget(L, fields);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, path);
    lua_pushvalue(L, -2);
    lua_rawset(L, fields);
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, (int)crux_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

/* A list field's items at fault come by their places in it, from 0. */
static bool is_place(const char *key) {
  size_t digits = strspn(key, "0123456789");
  return digits > 0 && digits < 9 && key[digits] == '\0';
}

/* Flattens the value on top into `fields` under the path below it; pops both. */
static void flatten(lua_State *L, int fields) {
  int value = lua_gettop(L), path = value - 1, type = lua_type(L, value);
  luaL_checkstack(L, 8, "complaints nested too deeply");
  if (type == LUA_TSTRING || type == LUA_TNUMBER) {
    lua_tostring(L, value);
    add_complaint(L, fields, path);
  } else if (type == LUA_TTABLE) {
    lua_pushnil(L);
    while (lua_next(L, value)) {
      const char *above = lua_tostring(L, path);
      int key = value + 1;
      bool deep = lua_type(L, -1) == LUA_TTABLE;
      if (lua_type(L, key) == LUA_TNUMBER) {
        if (deep) lua_pushfstring(L, "%s[%d]", above, (int)lua_tointeger(L, key));
        else lua_pushvalue(L, path);
      } else if (lua_type(L, key) == LUA_TSTRING && strcmp(lua_tostring(L, key), "non_field_errors") == 0)
        lua_pushvalue(L, path);
      else if (above[0] && is_place(lua_tostring(L, key)))
        lua_pushfstring(L, "%s[%d]", above, atoi(lua_tostring(L, key)) + 1);
      else {
        lua_pushvalue(L, key);
        lua_pushfstring(L, "%s%s%s", above, above[0] ? "." : "", lua_tostring(L, -1));
        lua_remove(L, -2);
      }
      lua_insert(L, -2);
      flatten(L, fields);
    }
  }
  lua_settop(L, path - 1);
}

void crux_set_complaints(lua_State *L) {
  int err = lua_gettop(L), fields;
  crux_getkey(L, err, CRUX_KEY_body);
  if (lua_type(L, -1) != LUA_TTABLE) {
    if (lua_type(L, -1) == LUA_TSTRING) {
      lua_pushvalue(L, -1);
      crux_setkey(L, err, CRUX_KEY_detail);
    }
    lua_settop(L, err);
    return;
  }
  lua_newtable(L);
  fields = lua_gettop(L);
  lua_pushnil(L);
  while (lua_next(L, fields - 1)) {
    /* a lone message, not a field's */
    if (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "detail") == 0 &&
        lua_type(L, -1) == LUA_TSTRING) {
      crux_setkey(L, err, CRUX_KEY_detail);
      continue;
    }
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_remove(L, -2);
    lua_pushliteral(L, "");
    lua_insert(L, -2);
    flatten(L, fields);
  }
  lua_pushnil(L);
  if (lua_next(L, fields)) {
    lua_pushvalue(L, fields);
    crux_setkey(L, err, CRUX_KEY_fields);
  }
  lua_settop(L, err);
}

bool crux_push_first_complaint(lua_State *L, int err) {
  const char *first = NULL;
  crux_getkey(L, err, CRUX_KEY_fields);
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    return false;
  }
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    const char *path = lua_tostring(L, -2);
    if (!first || strcmp(path, first) < 0) first = path;
    lua_pop(L, 1);
  }
  lua_getfield(L, -1, first);
  lua_rawgeti(L, -1, 1);
  lua_pushfstring(L, "%s%s%s", first, first[0] ? ": " : "", lua_tostring(L, -1));
  lua_replace(L, -4);
  lua_pop(L, 2);
  return true;
}
