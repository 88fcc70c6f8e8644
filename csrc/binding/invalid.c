/* invalid: see invalid.h. */
#include "invalid.h"

#include "error.h"
#include "foreign_names.h"
#include "request_headers.h"
#include "values.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what was found --- */

static bool is_showable_type(crux_type type) {
  switch (type) {
    case CRUX_TYPE_UUID: /* where people put tokens by mistake */
    case CRUX_TYPE_TOKEN:
    case CRUX_TYPE_BASE_URL:
    case CRUX_TYPE_FILE:
    case CRUX_TYPE_KEY_FILE:
    case CRUX_TYPE_DIRECTORY:
    case CRUX_TYPE_STRING:
    case CRUX_TYPE_PROXY:
    case CRUX_TYPE_PRODUCT:
    case CRUX_TYPE_HEADERS: return false;
    default: return true;
  }
}

static bool is_token(lua_State *L, int index, const char *token) {
  return token && lua_type(L, index) == LUA_TSTRING && strcmp(lua_tostring(L, index), token) == 0;
}

/* The string at an index, if it is printable, at most so long, and not the token; else NULL. */
static const char *showable(lua_State *L, int index, size_t most, const char *token) {
  size_t len, i;
  const char *s = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &len) : NULL;
  if (!s || len > most || is_token(L, index, token)) return NULL;
  for (i = 0; i < len && s[i] >= ' ' && s[i] < 127; i++) continue;
  return i == len ? s : NULL;
}

/* With as few digits as tell it from every other. */
static void push_number(lua_State *L, double value) {
  char text[40];
  snprintf(text, sizeof text, "%.14g", value);
  if (strtod(text, NULL) != value) snprintf(text, sizeof text, "%.17g", value);
  lua_pushstring(L, text);
}

/* Pushes what was found; the value itself only with `show`. */
static void push_found(lua_State *L, int index, bool show, const char *token) {
  int type = lua_type(L, index);
  const char *s;
  switch (type) {
    case LUA_TNIL: lua_pushliteral(L, "nothing"); return;
    case LUA_TSTRING:
      s = show ? showable(L, index, 16, token) : NULL; /* a long one may be a secret */
      if (s) lua_pushfstring(L, "'%s'", s);
      else lua_pushfstring(L, "a string of %d bytes", (int)crux_rawlen(L, index));
      return;
    case LUA_TNUMBER:
      if (!show) break;
      push_number(L, lua_tonumber(L, index));
      return;
    case LUA_TBOOLEAN:
      if (!show) break;
      lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false");
      return;
    case LUA_TLIGHTUSERDATA:
      lua_pushstring(L, lua_touserdata(L, index) ? "a userdata" : "crux.null");
      return;
    default: break;
  }
  lua_pushfstring(L, "a %s", lua_typename(L, type));
}

/* --- what was expected --- */

static void push_range(lua_State *L, const crux_field *field) {
  char text[96];
  if (field->high > 0)
    snprintf(text, sizeof text, "a whole number from %.0f to %.0f", field->low, field->high);
  else snprintf(text, sizeof text, "a whole number from %.0f", field->low);
  lua_pushstring(L, text);
}

static void push_choices(lua_State *L, const char *const *choice) {
  luaL_Buffer list;
  luaL_buffinit(L, &list);
  for (; *choice; choice++) {
    luaL_addchar(&list, '\'');
    luaL_addstring(&list, *choice);
    luaL_addchar(&list, '\'');
    if (choice[1]) luaL_addstring(&list, choice[2] ? ", " : " or ");
  }
  luaL_pushresult(&list);
}

static const char *item_name(const crux_field *item, bool plural) {
  switch (item->type) {
    case CRUX_TYPE_UUID: return plural ? "UUIDs" : "UUID";
    case CRUX_TYPE_TEXT:
    case CRUX_TYPE_ENUM: return plural ? "strings" : "string";
    case CRUX_TYPE_WHOLE:
    case CRUX_TYPE_DECIMAL: return plural ? "numbers" : "number";
    case CRUX_TYPE_BOOLEAN: return plural ? "booleans" : "boolean";
    case CRUX_TYPE_DATE: return plural ? "dates" : "date";
    case CRUX_TYPE_LIST: return plural ? "lists" : "list";
    default: return plural ? "tables" : "table";
  }
}

static void push_list(lua_State *L, const crux_field *field) {
  int low = (int)field->low, high = (int)field->high;
  const char *one = item_name(field->fields, false), *many = item_name(field->fields, true);
  if (high > 0 && low == high) lua_pushfstring(L, "a list of %d %s", low, low == 1 ? one : many);
  else if (high > 0 && low > 0) lua_pushfstring(L, "a list of %d to %d %s", low, high, many);
  else if (high > 0) lua_pushfstring(L, "a list of at most %d %s", high, high == 1 ? one : many);
  else if (low == 1) lua_pushfstring(L, "a list of at least one %s", one);
  else if (low > 1) lua_pushfstring(L, "a list of at least %d %s", low, many);
  else lua_pushfstring(L, "a list of %s", many);
}

static void push_seconds(lua_State *L, const crux_field *field) {
  bool positive = field->type == CRUX_TYPE_SECONDS;
  if (field->high > 0 && positive)
    lua_pushfstring(L, "a positive number of seconds, at most %d", (int)field->high);
  else if (field->high > 0)
    lua_pushfstring(L, "a number of seconds from 0 to %d", (int)field->high);
  else if (positive) lua_pushliteral(L, "a positive, finite number of seconds");
  else lua_pushliteral(L, "a finite number of seconds, 0 or more");
}

#define TOKEN "a string of printable ASCII without spaces"
#define OR_FUNCTION ", or a function"
#define HEADERS "a table of unreserved header names and values, at most 8 KiB"
#define BASE_URL "an https:// URL with no user, query or fragment"
#define STOP_SET "a set of kinds and statuses such as { auth = true, [403] = true }, or a function"
#define DECIMAL "a number or string from 0 to 99999999.99 with at most two decimals"

static void push_text(lua_State *L, const crux_field *field) {
  lua_pushliteral(L, "a non-empty string of UTF-8");
  if (field->high == 0) return;
  lua_pushfstring(L, " of at most %d bytes", (int)field->high);
  lua_concat(L, 2);
}

/* Pushes what a field takes. */
static void push_expected(lua_State *L, const crux_field *field, unsigned hidden) {
  const char *text = NULL;
  switch (field->type) {
    case CRUX_TYPE_TEXT: push_text(L, field); return;
    case CRUX_TYPE_WHOLE: push_range(L, field); return;
    case CRUX_TYPE_ENUM: push_choices(L, field->choices); return;
    case CRUX_TYPE_LIST: push_list(L, field); return;
    case CRUX_TYPE_SECONDS:
    case CRUX_TYPE_DURATION: push_seconds(L, field); return;
    case CRUX_TYPE_UUID: text = "a UUID (8-4-4-4-12 hex digits)"; break;
    case CRUX_TYPE_DECIMAL: text = DECIMAL; break;
    case CRUX_TYPE_BOOLEAN: text = "true or false"; break;
    case CRUX_TYPE_DATE: text = "a date such as '2018-08-03' or '2018-08-03 06:00:00'"; break;
    case CRUX_TYPE_OBJECT: text = "a table"; break;
    case CRUX_TYPE_TOKEN: text = hidden & CRUX_LUA_ONLY ? TOKEN : TOKEN OR_FUNCTION; break;
    case CRUX_TYPE_BASE_URL: text = BASE_URL; break;
    case CRUX_TYPE_FILE:
    case CRUX_TYPE_KEY_FILE: text = "a readable file"; break;
    case CRUX_TYPE_DIRECTORY: text = "a readable directory"; break;
    case CRUX_TYPE_STRING: text = "a string"; break;
    case CRUX_TYPE_PROXY: text = "a proxy URL, or an empty string for none"; break;
    case CRUX_TYPE_PRODUCT: text = "a product token such as 'shop/1.2'"; break;
    case CRUX_TYPE_HEADERS: text = hidden & CRUX_LUA_ONLY ? HEADERS : HEADERS OR_FUNCTION; break;
    case CRUX_TYPE_CACHE: text = "an object with get and set"; break;
    case CRUX_TYPE_FUNCTION: text = "a function"; break;
    case CRUX_TYPE_TABLE: text = "a table"; break;
    case CRUX_TYPE_RATE: text = "a positive, finite number"; break;
    case CRUX_TYPE_LIMIT: text = "a whole number from 1, or false"; break;
    case CRUX_TYPE_STOP_SET: text = STOP_SET; break;
  }
  lua_pushstring(L, text);
}

/* --- what is wrong --- */

/* Replaces what was found, on top, by how to write a URL of which only the scheme is missing. */
static void add_scheme(lua_State *L, int value, const char *token) {
  static const char *const schemes[] = { "http://", "https://" }; /* http: of this machine alone */
  const char *text = showable(L, value, 100, token);
  crux_base_url url;
  char whole[128];
  int i;
  if (!text || !crux_is_hostlike(text)) return;
  for (i = 0; i < 2; i++) {
    snprintf(whole, sizeof whole, "%s%s", schemes[i], text);
    if (crux_base_url_parse(whole, &url) != CRUX_URL_OK) continue;
    lua_pop(L, 1);
    lua_pushfstring(L, "'%s': write '%s'", text, whole);
    return;
  }
}

static void push_wrong_value(lua_State *L, const crux_invalid *invalid, const char *token) {
  const crux_field *field = invalid->field;
  int value = invalid->value;
  bool show = is_showable_type(field->type) && !(field->flags & CRUX_SECRET);
  push_expected(L, field, invalid->hidden);
  push_found(L, value, show, token);
  if (field->type == CRUX_TYPE_BASE_URL) add_scheme(L, value, token);
  if (field->type == CRUX_TYPE_TOKEN && lua_type(L, value) == LUA_TSTRING &&
      crux_ends_line(lua_tostring(L, value))) {
    lua_pushliteral(L, " that ends in a newline");
    lua_concat(L, 2);
  }
  lua_pushfstring(L, "expected %s, found %s", lua_tostring(L, -2), lua_tostring(L, -1));
}

/* The name of a wrong header, if it may be shown; NULL for what is long or no name at all, and may
   be a value in the wrong place. */
static const char *header_name(lua_State *L, const crux_invalid *invalid, const char *token) {
  const char *name = showable(L, invalid->key, 64, token);
  return name && crux_is_header_name(name, strlen(name)) ? name : NULL;
}

/* The name of the header that has a wrong value, if it may be shown. */
static const char *blamed_header(lua_State *L, const crux_invalid *invalid, const char *token) {
  if (invalid->problem != CRUX_BAD_HEADER || invalid->number != CRUX_HEADERS_VALUE) return NULL;
  return header_name(L, invalid, token);
}

static void push_bad_header(lua_State *L, const crux_invalid *invalid, const char *token) {
  const char *name;
  switch ((crux_headers_problem)invalid->number) {
    case CRUX_HEADERS_NAME:
      name = header_name(L, invalid, token);
      if (name) {
        lua_pushfstring(L, "expected an unreserved header name, found '%s'", name);
        return;
      }
      push_found(L, invalid->key, false, token);
      lua_pushfstring(L, "expected a header name, found %s", lua_tostring(L, -1));
      return;
    case CRUX_HEADERS_VALUE:
      push_found(L, invalid->key + 1, false, token);
      lua_pushfstring(L, "expected a string without CR, LF and NUL, found %s",
                      lua_tostring(L, -1));
      return;
    case CRUX_HEADERS_TWICE:
      name = header_name(L, invalid, token);
      lua_pushfstring(L, "expected each name once, found %s%s%s twice", name ? "'" : "",
                      name ? name : "one", name ? "'" : "");
      return;
    case CRUX_HEADERS_TOO_LONG:
      lua_pushfstring(L, "expected at most %d bytes of lines, found more", CRUX_HEADERS_MAX);
      return;
    default: push_wrong_value(L, invalid, token); return;
  }
}

/* Paths are shown, however long: they are what is wrong. */
static void push_bad_file(lua_State *L, const crux_invalid *invalid, const char *token) {
  const char *path = lua_tostring(L, invalid->value);
  if (is_token(L, invalid->value, token)) path = "[redacted]";
  if (invalid->problem == CRUX_ENCRYPTED_KEY) {
    lua_pushfstring(L, "expected a private key without a password, found '%s' encrypted", path);
    return;
  }
  push_expected(L, invalid->field, invalid->hidden);
  lua_pushfstring(L, "expected %s, found '%s': %s", lua_tostring(L, -1), path,
                  strerror(invalid->number));
}

static void push_item_count(lua_State *L, const crux_invalid *invalid) {
  push_expected(L, invalid->field, invalid->hidden);
  if (invalid->number == 0)
    lua_pushfstring(L, "expected %s, found an empty one", lua_tostring(L, -1));
  else lua_pushfstring(L, "expected %s, found %d", lua_tostring(L, -1), invalid->number);
}

/* Pushes the names that there are. */
static void push_known(lua_State *L, const crux_field_list *list) {
  const crux_field *row;
  const char *separator = "unknown field, expected one of ";
  luaL_Buffer names;
  luaL_buffinit(L, &names);
  for (; list->fields; list++) {
    for (row = list->fields; row->name; row++) {
      if (row->flags & list->hidden) continue;
      luaL_addstring(&names, separator);
      luaL_addstring(&names, row->name);
      separator = ", ";
    }
  }
  luaL_pushresult(&names);
}

/* The key as a name that may be misspelt; NULL for what is long or odd, and may be a value in the
   wrong place. */
static const char *misspelt(lua_State *L, const crux_invalid *invalid, const char *token) {
  const char *name = showable(L, invalid->value, 32, token);
  return name && name[0] && !strpbrk(name, " [") ? name : NULL;
}

static void push_unknown(lua_State *L, const crux_invalid *invalid, const char *name) {
  const crux_foreign_name *foreign = name ? crux_find_foreign_name(name) : NULL;
  if (foreign && crux_is_known(invalid->lists, foreign->ours)) {
    if (foreign->not) lua_pushfstring(L, "unknown field: %s", foreign->not);
    else
      lua_pushfstring(L, "unknown field, did you mean '%s'%s%s?", foreign->ours,
                      foreign->why ? ", " : "", foreign->why ? foreign->why : "");
  } else if (name && invalid->nearest)
    lua_pushfstring(L, "unknown field, did you mean '%s'?", invalid->nearest);
  else push_known(L, invalid->lists);
}

/* Pushes those generations of the API that are among the bits. */
static void push_generations(lua_State *L, unsigned bits) {
  const char *names[4] = { NULL };
  const crux_generation *generation = crux_generations;
  int count = 0;
  for (; generation->name && count < 3; generation++) {
    if (generation->bit & bits) names[count++] = generation->name;
  }
  push_choices(L, names);
}

/* Pushes what is wrong, without the place. */
static void push_problem(lua_State *L, const crux_invalid *invalid, const char *token) {
  switch (invalid->problem) {
    case CRUX_UNKNOWN_FIELD: push_unknown(L, invalid, misspelt(L, invalid, token)); return;
    case CRUX_OTHER_KEYS:
      lua_pushliteral(L, "expected a list, found a table with other keys than 1, 2, 3");
      return;
    case CRUX_HOLE: lua_pushliteral(L, "expected a list without holes, found nothing"); return;
    case CRUX_ITEM_COUNT: push_item_count(L, invalid); return;
    case CRUX_TOO_DEEP:
      lua_pushfstring(L, "expected at most %d levels of tables, found more", CRUX_DEPTH_MAX);
      return;
    case CRUX_TOO_LONG:
      lua_pushfstring(L, "expected a request of at most %d bytes, found more", CRUX_JSON_MAX);
      return;
    case CRUX_NOT_LOOPBACK:
      lua_pushliteral(L, "expected https, found http to another machine, where a token would be "
                         "readable");
      return;
    case CRUX_BAD_FILE:
    case CRUX_ENCRYPTED_KEY: push_bad_file(L, invalid, token); return;
    case CRUX_BAD_HEADER: push_bad_header(L, invalid, token); return;
    case CRUX_ALONE: lua_pushfstring(L, "expected %s too, found none", invalid->nearest); return;
    case CRUX_TWO_CREDENTIALS:
      lua_pushliteral(L, "expected a string beside username, found a function");
      return;
    case CRUX_NOT_BUILT_IN:
      lua_pushfstring(L, "expected a libcurl that knows it, found %s: %s", curl_version(),
                      curl_easy_strerror((CURLcode)invalid->number));
      return;
    case CRUX_OTHER_API:
      push_generations(L, (unsigned)invalid->number);
      lua_pushfstring(L, "expected %s for %s, found '%s'", lua_tostring(L, -1), invalid->nearest,
                      lua_tostring(L, invalid->value));
      return;
    default: push_wrong_value(L, invalid, token); return;
  }
}

/* Pushes the place of the problem. That of an unknown field ends in its key, in the form that may
   be shown: so two unknown fields of one table have different places. */
static const char *push_place(lua_State *L, const crux_invalid *invalid, const char *token) {
  const char *path = invalid->path, *name;
  char number[40];
  int key = invalid->value;
  if (invalid->problem != CRUX_UNKNOWN_FIELD) return lua_pushfstring(L, "%s", path);
  name = misspelt(L, invalid, token);
  if (name) return lua_pushfstring(L, "%s%s%s", path, path[0] ? "." : "", name);
  if (lua_type(L, key) == LUA_TSTRING)
    return lua_pushfstring(L, "%s[a string of %d bytes]", path, (int)crux_rawlen(L, key));
  if (lua_type(L, key) != LUA_TNUMBER)
    return lua_pushfstring(L, "%s[%s]", path, luaL_typename(L, key));
  snprintf(number, sizeof number, "[%.14g]", lua_tonumber(L, key));
  return lua_pushfstring(L, "%s%s", path, number);
}

void crux_push_invalid(lua_State *L, const crux_invalid *invalid, const char *token) {
  int top = lua_gettop(L);
  const char *field, *header = blamed_header(L, invalid, token);
  luaL_checkstack(L, 16, "a message");
  if (invalid->problem == CRUX_NO_MEMORY) {
    lua_pushliteral(L, "out of memory");
    crux_push_failure(L, CRUX_KIND_MEMORY, NULL);
    return;
  }
  field = push_place(L, invalid, token);
  push_problem(L, invalid, token);
  lua_pushfstring(L, "%s%s%s: %s", field, header ? "." : "", header ? header : "",
                  lua_tostring(L, -1));
  crux_push_failure(L, CRUX_KIND_INVALID, field);
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
}

int crux_fail_invalid(lua_State *L, const crux_invalid *invalid, const char *token) {
  lua_pushnil(L);
  crux_push_invalid(L, invalid, token);
  return 2;
}
