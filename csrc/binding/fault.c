/* fault: see fault.h. */
#include "fault.h"

#include "arguments.h"
#include "client.h"
#include "error.h"
#include "foreign_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- values --- */

void crux_push_expected(lua_State *L, const char *what, int index, bool echo) {
  int type = lua_type(L, index);
  size_t len, i;
  const char *s;
  char number[40];
  /* a secret may be any value */
  if (!echo && (type == LUA_TNUMBER || type == LUA_TBOOLEAN)) {
    lua_pushfstring(L, "expected %s, found a %s", what, lua_typename(L, type));
    return;
  }
  switch (type) {
    case LUA_TNONE:
    case LUA_TNIL: lua_pushfstring(L, "expected %s, found nothing", what); return;
    case LUA_TNUMBER:
      snprintf(number, sizeof number, "%.17g", lua_tonumber(L, index));
      if (strtod(number, NULL) == lua_tonumber(L, index)) {
        char brief[40];
        snprintf(brief, sizeof brief, "%.14g", lua_tonumber(L, index));
        if (strtod(brief, NULL) == lua_tonumber(L, index)) memcpy(number, brief, sizeof number);
      }
      lua_pushfstring(L, "expected %s, found %s", what, number);
      return;
    case LUA_TSTRING:
      s = lua_tolstring(L, index, &len);
      /* a long one may be a secret in the wrong place */
      for (i = 0; i < len && s[i] >= ' ' && s[i] < 127; i++) continue;
      if (echo && len <= 16 && i == len) lua_pushfstring(L, "expected %s, found '%s'", what, s);
      else lua_pushfstring(L, "expected %s, found a string of %d bytes", what, (int)len);
      return;
    case LUA_TBOOLEAN: lua_pushfstring(L, "expected %s, found %s", what, lua_toboolean(L, index) ? "true" : "false"); return;
    case LUA_TLIGHTUSERDATA:
      lua_pushfstring(L, "expected %s, found %s", what, lua_touserdata(L, index) ? "a userdata" : "crux.null");
      return;
    default: lua_pushfstring(L, "expected %s, found a %s", what, lua_typename(L, type)); return;
  }
}

int crux_fault(lua_State *L, const char *where, const char *name) {
  const char *field = lua_pushfstring(L, "%s%s%s", where, where[0] && name[0] != '[' ? "." : "", name);
  lua_pushfstring(L, "%s: %s", field, lua_tostring(L, -2));
  lua_pushnil(L);
  lua_insert(L, -2);
  crux_push_failure(L, CRUX_KIND_INVALID, field);
  return 2;
}

/* --- names --- */

static char lower(char c) { return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c); }

int crux_edit_distance(const char *a, const char *b) {
  int d[33][33], i, j, la = (int)strlen(a), lb = (int)strlen(b);
  if (la > 32 || lb > 32) return 99;
  for (i = 0; i <= la; i++) d[i][0] = i;
  for (j = 0; j <= lb; j++) d[0][j] = j;
  for (i = 1; i <= la; i++) {
    for (j = 1; j <= lb; j++) {
      int change = d[i - 1][j - 1] + (lower(a[i - 1]) != lower(b[j - 1]));
      int least = d[i - 1][j] < d[i][j - 1] ? d[i - 1][j] + 1 : d[i][j - 1] + 1;
      /* two letters that changed places are one slip */
      bool swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swap && d[i - 2][j - 2] + 1 < least) least = d[i - 2][j - 2] + 1;
      d[i][j] = change < least ? change : least;
    }
  }
  return d[la][lb];
}

static const crux_field *find_field(const crux_field *fields, const char *name) {
  for (; fields && fields->name; fields++) {
    if (strcmp(fields->name, name) == 0) return fields;
  }
  return NULL;
}

/* The key at an index as the name it may be; names with a NUL in them are nobody's. */
static const char *name_at(lua_State *L, int key) {
  size_t len = 0;
  const char *name = lua_type(L, key) == LUA_TSTRING ? lua_tolstring(L, key, &len) : "";
  return strlen(name) == len ? name : "";
}

const crux_field *crux_field_at(lua_State *L, int key, const crux_field *fields) {
  return find_field(fields, name_at(L, key));
}

static const char *nearest_name(const char *name, const crux_field *fields, bool options, bool policy) {
  const char *nearest = NULL;
  int distance = (int)strlen(name) / 3 + 1;
  for (; fields && fields->name; fields++) {
    int d = crux_edit_distance(name, fields->name);
    if (d < distance || (d == distance && !nearest)) {
      distance = d;
      nearest = fields->name;
    }
  }
  return options ? crux_nearest_option(name, policy, &distance, nearest) : nearest;
}

/* Keys as messages may show them; two of one table are told apart by it. */
static const char *push_key(lua_State *L, int index, const char *token) {
  size_t len, i;
  const char *s;
  if (lua_type(L, index) == LUA_TNUMBER) {
    char number[40];
    snprintf(number, sizeof number, "[%.14g]", lua_tonumber(L, index));
    return lua_pushfstring(L, "%s", number);
  }
  if (lua_type(L, index) != LUA_TSTRING) return lua_pushfstring(L, "[%s]", luaL_typename(L, index));
  s = lua_tolstring(L, index, &len);
  for (i = 0; i < len && s[i] > ' ' && s[i] < 127 && s[i] != '['; i++) continue;
  /* what is long or odd is no misspelt name, and may be a value in the wrong place */
  if (len == 0 || len > 32 || i < len || crux_is_text(L, index, token)) return lua_pushfstring(L, "[a string of %d bytes]", (int)len);
  lua_pushvalue(L, index);
  return s;
}

static bool is_known(lua_State *L, int key, const crux_field *fields, bool options, bool policy) {
  const char *name = name_at(L, key);
  return find_field(fields, name) || (options && crux_is_option(name, policy));
}

bool crux_has_unknown(lua_State *L, int index, const crux_field *fields, bool options, bool policy) {
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (is_known(L, -1, fields, options, policy)) continue;
    lua_pop(L, 1);
    return true;
  }
  return false;
}

static void add_name(luaL_Buffer *list, const char *name, bool *first) {
  if (!name[0]) return;
  if (!*first) luaL_addstring(list, ", ");
  luaL_addstring(list, name);
  *first = false;
}

/* Pushes what to say of an unknown field that is near to none: those that there are. */
static void push_known(lua_State *L, const crux_field *fields, bool options, bool policy) {
  luaL_Buffer list;
  bool first = true;
  const char *name;
  int i;
  luaL_buffinit(L, &list);
  luaL_addstring(&list, "unknown field, expected one of ");
  for (; fields && fields->name; fields++) add_name(&list, fields->name, &first);
  for (i = 0; options && (name = crux_option_name(i, policy)); i++) add_name(&list, name, &first);
  luaL_pushresult(&list);
}

bool crux_push_unknown(lua_State *L, int index, const char *where, const crux_field *fields, bool options, bool policy,
                       const char *token) {
  const char *least, *nearest;
  if (!crux_has_unknown(L, index, fields, options, policy)) return false;
  lua_pushnil(L);
  lua_pushnil(L);
  /* of several, the first by name, since a table has no order */
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (is_known(L, -1, fields, options, policy)) continue;
    push_key(L, lua_gettop(L), token);
    if (lua_isnil(L, -3) || strcmp(lua_tostring(L, -1), lua_tostring(L, -3)) < 0) lua_replace(L, -3);
    else lua_pop(L, 1);
  }
  least = lua_tostring(L, -1);
  if (!options || !crux_push_foreign(L, least, policy)) {
    nearest = nearest_name(least, fields, options, policy);
    if (nearest) lua_pushfstring(L, "unknown field, did you mean '%s'?", nearest);
    else push_known(L, fields, options, policy);
  }
  crux_fault(L, where, least);
  return true;
}

int crux_unknown(lua_State *L) {
  enum { MOST = 8 };
  crux_field fields[MOST + 1];
  int i, count;
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  count = (int)crux_rawlen(L, 2);
  luaL_argcheck(L, count <= MOST, 2, "too many names");
  memset(fields, 0, sizeof fields);
  for (i = 0; i < count; i++) {
    lua_rawgeti(L, 2, i + 1);
    fields[i].name = luaL_checkstring(L, -1);
    lua_pop(L, 1);
  }
  return crux_push_unknown(L, 1, "", fields, false, false, NULL) ? 1 : 0;
}

int crux_invalid(lua_State *L) {
  const char *name = luaL_checkstring(L, 1), *what = luaL_checkstring(L, 2);
  luaL_checkany(L, 3);
  crux_push_expected(L, what, 3, true);
  crux_fault(L, "", name);
  return 1;
}
