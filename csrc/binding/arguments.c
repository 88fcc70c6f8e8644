/* arguments: see arguments.h. */
#include "arguments.h"

#include "client.h"
#include "error.h"
#include "fault.h"
#include "json.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* lua-cjson doubles its buffer until it holds all, and ends the process if it cannot. */
#define TEXT_MAX (16 * 1024 * 1024)

#define CENTS_MAX 9999999999.0 /* 99999999.99 */

/* --- values --- */

static bool is_uuid(const char *s, size_t len) {
  static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  size_t i;
  if (len != sizeof shape - 1) return false;
  for (i = 0; i < sizeof shape - 1; i++) {
    unsigned digit = (unsigned char)s[i] - (unsigned)'0', letter = ((unsigned char)s[i] | 32u) - (unsigned)'a';
    if (shape[i] == '-' ? s[i] != '-' : digit > 9 && letter > 5) return false;
  }
  return true;
}

/* "12", "12.5" or "12.50" in cents; -1 for anything else. */
static double cents_of_text(const char *s, size_t len) {
  const char *end = s + len;
  double cents = 0;
  int decimals = -1;
  if (len == 0 || len > 64 || *s == '.' || end[-1] == '.') return -1;
  for (; s < end; s++) {
    if (*s == '.' && decimals < 0) decimals = 0;
    else if (*s >= '0' && *s <= '9' && decimals < 2) {
      cents = cents * 10 + (*s - '0');
      if (decimals >= 0) decimals++;
    } else return -1;
  }
  for (decimals = decimals < 0 ? 0 : decimals; decimals < 2; decimals++) cents *= 10;
  return cents;
}

/* The float nearest to a number of two decimals is taken for that number, and no other float is. */
static double cents_of_number(double value) {
  double cents = floor(value * 100 + 0.5);
  return value >= 0 && cents <= CENTS_MAX && cents / 100 == value ? cents : -1;
}

/* What the field is, for messages. */
static const char *expectation(crux_field_type type) {
  switch (type) {
    case CRUX_FIELD_UUID: return "a UUID (8-4-4-4-12 hex digits)";
    case CRUX_FIELD_TEXT: return "a non-empty string of UTF-8";
    case CRUX_FIELD_WHOLE: return "a whole number from 1 to 2147483647";
    case CRUX_FIELD_DECIMAL: return "a number or string from 0 to 99999999.99 with at most two decimals";
    default: return "a list of at least one table";
  }
}

static double cents_of(lua_State *L, int index) {
  size_t len;
  const char *s;
  if (lua_type(L, index) == LUA_TNUMBER) return cents_of_number(lua_tonumber(L, index));
  if (lua_type(L, index) != LUA_TSTRING) return -1;
  s = lua_tolstring(L, index, &len);
  return cents_of_text(s, len);
}

/* JSON's null, as lua-cjson and ngx_lua have it: in an optional field of a row from JSON or SQL
   it stands for nothing. */
static bool is_null(lua_State *L, int index) {
  return lua_type(L, index) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, index);
}

/* False: the value on top is none of its type. */
static bool check_value(lua_State *L, crux_field_type type, crux_checked *c) {
  size_t len = 0;
  const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
  double value;
  switch (type) {
    case CRUX_FIELD_UUID: return s && is_uuid(s, len);
    case CRUX_FIELD_TEXT:
      c->text += len;
      return s && len > 0 && crux_is_utf8(s, len);
    case CRUX_FIELD_WHOLE:
      value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
      if (crux_isfloat(L, -1)) c->convert = true;
      return value >= 1 && value <= 2147483647 && value == floor(value);
    case CRUX_FIELD_DECIMAL:
      value = cents_of(L, -1);
      c->convert = true;
      return value >= 0 && value <= CENTS_MAX;
    default: return false;
  }
}

/* --- tables --- */

/* The length of a list without holes or other keys: 0 if it is none, and -i if it has a hole at
   i. */
static int list_length(lua_State *L, int index) {
  int count = 0, i;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
    lua_pop(L, 1);
    if (key < 1 || key != floor(key) || isinf(key)) {
      lua_pop(L, 1);
      return 0;
    }
    count++;
  }
  for (i = 1; i <= count; i++) {
    bool hole;
    lua_rawgeti(L, index, i);
    hole = lua_isnil(L, -1);
    lua_pop(L, 1);
    if (hole) return -i;
  }
  return count;
}

/* Unknown fields anywhere come before any other fault. */
bool crux_push_unknown_within(lua_State *L, int index, const crux_field *fields, const char *token) {
  char where[64];
  for (; fields->name; fields++) {
    int list = lua_gettop(L) + 1;
    double least = 0;
    if (fields->type != CRUX_FIELD_LIST) continue;
    lua_pushstring(L, fields->name);
    lua_rawget(L, index);
    lua_pushnil(L);
    /* holes and other keys in the list are faults too, but later ones */
    while (lua_type(L, list) == LUA_TTABLE && lua_next(L, list)) {
      double key = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
      if (key >= 1 && key <= INT_MAX && key == floor(key) && (least == 0 || key < least) &&
          lua_type(L, -1) == LUA_TTABLE && crux_has_unknown(L, lua_gettop(L), fields->fields, false, false))
        least = key;
      lua_pop(L, 1);
    }
    lua_settop(L, list);
    if (least != 0) {
      lua_rawgeti(L, list, (int)least);
      snprintf(where, sizeof where, "%s[%d]", fields->name, (int)least);
      return crux_push_unknown(L, list + 1, where, fields->fields, false, false, token);
    }
    lua_pop(L, 1);
  }
  return false;
}

static int check_object(lua_State *L, int index, const char *list, int item, const crux_field *fields, crux_checked *c);

/* False: the value at `index` is the token in the wrong place. */
static bool may_be_told(lua_State *L, int index, const crux_checked *c) {
  return !crux_is_text(L, index, crux_token_of(L, c->arguments, c->token));
}

static bool has_metatable(lua_State *L, int index) {
  if (!lua_getmetatable(L, index)) return false;
  lua_pop(L, 1);
  return true;
}

static int check_list(lua_State *L, int list, const crux_field *field, crux_checked *c) {
  int i, count = lua_type(L, list) == LUA_TTABLE ? list_length(L, list) : 0;
  char where[64];
  if (count < 0) {
    snprintf(where, sizeof where, "[%d]", -count);
    lua_pushliteral(L, "expected a list without holes, found nothing");
    return crux_fault(L, field->name, where);
  }
  if (count == 0) {
    lua_pushnil(L);
    if (lua_type(L, list) != LUA_TTABLE) crux_push_expected(L, expectation(field->type), list, may_be_told(L, list, c));
    else if (lua_next(L, list)) lua_pushfstring(L, "expected a list, found a table with other keys than 1, 2, 3");
    else lua_pushfstring(L, "expected %s, found an empty one", expectation(field->type));
    return crux_fault(L, "", field->name);
  }
  for (i = 1; i <= count; i++) {
    int item = lua_gettop(L) + 1, faults;
    lua_rawgeti(L, list, i);
    if (lua_type(L, item) != LUA_TTABLE) {
      snprintf(where, sizeof where, "[%d]", i);
      crux_push_expected(L, "a table", item, may_be_told(L, item, c));
      return crux_fault(L, field->name, where);
    }
    faults = check_object(L, item, field->name, i, field->fields, c);
    if (faults) return faults;
    lua_settop(L, item - 1);
  }
  if (has_metatable(L, list)) c->convert = true;
  return 0;
}

/* Checks the fields of the table at `index`, which is an item of `list` unless that is NULL. 0;
   or nil and err pushed, and their number returned. */
static int check_object(lua_State *L, int index, const char *list, int item, const crux_field *fields, crux_checked *c) {
  unsigned given = 0, wrong = 0, bit = 1;
  luaL_checkstack(L, 16, "arguments");
  lua_pushnil(L);
  while (lua_next(L, index)) {
    const crux_field *field = crux_field_at(L, -2, fields);
    if (!field) c->foreign = true;
    else {
      unsigned its = 1u << (field - fields);
      given |= its;
      if (field->type != CRUX_FIELD_LIST && !check_value(L, field->type, c)) {
        if (!field->required && is_null(L, -1)) {
          given &= ~its;
          c->convert = true;
        } else wrong |= its;
      }
    }
    lua_pop(L, 1);
  }
  if (has_metatable(L, index)) c->convert = true;
  /* a table has no order, but its faults have */
  for (; fields->name; fields++, bit <<= 1) {
    bool lacking = fields->required && !(given & bit), list_given = fields->type == CRUX_FIELD_LIST && (given & bit);
    bool long_text = fields->type == CRUX_FIELD_TEXT && (given & bit) && c->text > TEXT_MAX;
    if (!(lacking || list_given || long_text || (wrong & bit))) continue;
    lua_pushstring(L, fields->name);
    lua_rawget(L, index);
    if (list_given) {
      int faults = check_list(L, lua_gettop(L), fields, c);
      if (faults) return faults;
      lua_pop(L, 1);
      continue;
    }
    if (lacking || (wrong & bit))
      crux_push_expected(L, expectation(fields->type), lua_gettop(L),
                         fields->type != CRUX_FIELD_UUID && may_be_told(L, lua_gettop(L), c));
    else lua_pushfstring(L, "expected a request of at most %d bytes of text, found more", TEXT_MAX);
    if (list) lua_pushfstring(L, "%s[%d]", list, item);
    else lua_pushliteral(L, "");
    lua_insert(L, -2);
    return crux_fault(L, lua_tostring(L, -2), fields->name);
  }
  return 0;
}

int crux_check_arguments(lua_State *L, const crux_field *fields, crux_checked *c) {
  return check_object(L, c->arguments, NULL, 0, fields, c);
}

/* --- what is sent --- */

/* Pushes a table of what is sent for the checked fields of the one at `index`, and of nothing
   else. */
static void push_converted(lua_State *L, int index, const crux_field *fields, bool convert) {
  int into = lua_gettop(L) + 1;
  luaL_checkstack(L, 8, "arguments");
  lua_createtable(L, 0, 5);
  for (; fields->name; fields++) {
    char text[32];
    double cents;
    int value = into + 2, i;
    lua_pushstring(L, fields->name);
    lua_pushvalue(L, -1);
    lua_rawget(L, index);
    if (lua_isnil(L, value) || is_null(L, value)) {
      lua_settop(L, into);
      continue;
    }
    switch (fields->type) {
      case CRUX_FIELD_LIST:
        if (!convert) {
          lua_pushvalue(L, value);
          break;
        }
        lua_newtable(L);
        for (i = 1; i <= (int)crux_rawlen(L, value); i++) {
          lua_rawgeti(L, value, i);
          push_converted(L, value + 2, fields->fields, convert);
          lua_rawseti(L, value + 1, i);
          lua_settop(L, value + 1);
        }
        break;
      case CRUX_FIELD_WHOLE: lua_pushinteger(L, (lua_Integer)lua_tonumber(L, value)); break;
      case CRUX_FIELD_DECIMAL:
        cents = cents_of(L, value);
        snprintf(text, sizeof text, "%.0f.%02d", floor(cents / 100), (int)fmod(cents, 100));
        lua_pushstring(L, text);
        break;
      default: lua_pushvalue(L, value); break;
    }
    lua_remove(L, value);
    lua_rawset(L, into);
  }
}

void crux_push_sent(lua_State *L, const crux_field *fields, const crux_checked *c) {
  /* the caller's own tables, where they say just what is to be sent */
  if (c->foreign || c->convert) push_converted(L, c->arguments, fields, c->convert);
  else lua_pushvalue(L, c->arguments);
}
