/* snapshot: see snapshot.h. */
#include "snapshot.h"

void crux_snapshot_take(lua_State *L, int table, const crux_field_list *lists, crux_snapshot *s) {
  int found = 0, number, list;
  size_t len;
  s->lists = lists;
  s->table = table;
  s->given = 0;
  s->has_unknown = false;
  memset(s->at, 0, sizeof s->at);
  luaL_checkstack(L, 24, "too many fields");
  lua_pushnil(L);
  while (lua_next(L, table)) {
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &len) : NULL;
    if (!name || !crux_find_row(lists, name, len, &number, &list)) {
      s->has_unknown = true;
      lua_pop(L, 1);
      continue;
    }
    s->given |= 1u << list;
    s->at[number] = lua_gettop(L);
    lua_pushvalue(L, -2);
    if (++found % 8 == 0) luaL_checkstack(L, 24, "too many fields");
  }
}

const char *crux_text_at(lua_State *L, int index) {
  size_t len;
  const char *s = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &len) : NULL;
  return s && strlen(s) == len ? s : NULL;
}

const char *crux_snapshot_text(lua_State *L, const crux_snapshot *s, const char *name) {
  int number, list;
  bool is_known = crux_find_row(s->lists, name, strlen(name), &number, &list);
  return is_known && s->at[number] ? crux_text_at(L, s->at[number]) : NULL;
}

bool crux_is_null(lua_State *L, int index) {
  return lua_type(L, index) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, index);
}
