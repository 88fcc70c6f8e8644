/* request_headers: see request_headers.h. */
#include "request_headers.h"

#include "values.h"

#include <string.h>
#include <strings.h>

/* Whether there is a line of that name among `lines`. */
static bool has_name(const char *lines, const char *name, size_t len) {
  for (; *lines; lines = strstr(lines, "\r\n") + 2) {
    if (strncasecmp(lines, name, len) == 0 && lines[len] == ':') return true;
  }
  return false;
}

/* Appends bytes at `*end`; false if there is no room for them. */
static bool append(const char *lines, char **end, const char *s, size_t len) {
  if (len > CRUX_HEADERS_MAX - (size_t)(*end - lines)) return false;
  memcpy(*end, s, len);
  *end += len;
  **end = '\0';
  return true;
}

/* RFC 9110 5.5: CR, LF and NUL would end the line, or hide the rest of it. */
static bool is_field_value(const char *s, size_t len) {
  return !memchr(s, '\r', len) && !memchr(s, '\n', len) && !memchr(s, '\0', len);
}

/* Appends the name and the value on top. */
static bool add_pair(lua_State *L, const char *lines, char **end) {
  const char *name, *value;
  size_t name_len, value_len;
  if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING) return false;
  name = lua_tolstring(L, -2, &name_len);
  value = lua_tolstring(L, -1, &value_len);
  if (!crux_is_free_header(name, name_len) || !is_field_value(value, value_len)) return false;
  if (has_name(lines, name, name_len)) return false; /* the same name in other letters */
  return append(lines, end, name, name_len) && append(lines, end, ": ", 2) &&
         append(lines, end, value, value_len) && append(lines, end, "\r\n", 2);
}

bool crux_read_headers(lua_State *L, int index, const char *base, char *lines) {
  int top = lua_gettop(L);
  char *end = lines;
  size_t len;
  *end = '\0';
  if (lua_type(L, index) != LUA_TTABLE) return false;
  luaL_checkstack(L, 4, "too many headers");
  lua_pushnil(L);
  while (lua_next(L, index)) {
    bool is_valid = add_pair(L, lines, &end);
    lua_settop(L, is_valid ? top + 1 : top);
    if (!is_valid) return false;
  }
  for (; base && *base; base += len) {
    len = (size_t)(strstr(base, "\r\n") + 2 - base);
    if (!has_name(lines, base, strcspn(base, ":")) && !append(lines, &end, base, len))
      return false;
  }
  return true;
}
