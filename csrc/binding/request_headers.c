/* request_headers: see request_headers.h. */
#include "request_headers.h"

#include "../http/buffer.h"
#include "values.h"

#include <string.h>
#include <strings.h>

void crux_header_lines_clear(crux_header_lines *lines) {
  lines->len = 0;
  lines->text[0] = '\0';
}

void crux_header_lines_wipe(crux_header_lines *lines) {
  crux_wipe(lines->text, lines->len);
  crux_header_lines_clear(lines);
}

/* Whether there is a line of that name between two offsets. */
static bool has_name(const crux_header_lines *lines, size_t from, size_t to, const char *name,
                     size_t len) {
  const char *line = lines->text + from;
  for (; line < lines->text + to; line = strstr(line, "\r\n") + 2) {
    if (strncasecmp(line, name, len) == 0 && line[len] == ':') return true;
  }
  return false;
}

/* False: there is no room for the bytes. */
static bool append(crux_header_lines *lines, const char *s, size_t len) {
  if (len > CRUX_HEADERS_MAX - lines->len) return false;
  memcpy(lines->text + lines->len, s, len);
  lines->len += len;
  lines->text[lines->len] = '\0';
  return true;
}

/* RFC 9110 5.5: CR, LF and NUL would end the line, or hide the rest of it. */
static bool is_field_value(const char *s, size_t len) {
  return !memchr(s, '\r', len) && !memchr(s, '\n', len) && !memchr(s, '\0', len);
}

/* Adds the name and the value on top. `others`: the length of the lines that are not of this
   table. */
static crux_headers_problem add_pair(crux_header_lines *lines, lua_State *L, size_t others) {
  const char *name, *value;
  size_t name_len, value_len;
  if (lua_type(L, -2) != LUA_TSTRING) return CRUX_HEADERS_NAME;
  name = lua_tolstring(L, -2, &name_len);
  if (!crux_is_free_header(name, name_len)) return CRUX_HEADERS_NAME;
  if (lua_type(L, -1) != LUA_TSTRING) return CRUX_HEADERS_VALUE;
  value = lua_tolstring(L, -1, &value_len);
  if (!is_field_value(value, value_len)) return CRUX_HEADERS_VALUE;
  if (has_name(lines, others, lines->len, name, name_len)) return CRUX_HEADERS_TWICE;
  if (has_name(lines, 0, others, name, name_len)) return CRUX_HEADERS_OK;
  if (append(lines, name, name_len) && append(lines, ": ", 2) &&
      append(lines, value, value_len) && append(lines, "\r\n", 2))
    return CRUX_HEADERS_OK;
  return CRUX_HEADERS_TOO_LONG;
}

crux_headers_problem crux_header_lines_add_table(crux_header_lines *lines, lua_State *L,
                                                 int index) {
  size_t others = lines->len;
  if (lua_type(L, index) != LUA_TTABLE) return CRUX_HEADERS_NO_TABLE;
  luaL_checkstack(L, 4, "too many headers");
  lua_pushnil(L);
  while (lua_next(L, index)) {
    crux_headers_problem problem = add_pair(lines, L, others);
    if (problem != CRUX_HEADERS_OK) return problem;
    lua_pop(L, 1);
  }
  return CRUX_HEADERS_OK;
}

crux_headers_problem crux_header_lines_add(crux_header_lines *lines, const char *more) {
  size_t others = lines->len, len;
  for (; *more; more += len) {
    len = (size_t)(strstr(more, "\r\n") + 2 - more);
    if (has_name(lines, 0, others, more, strcspn(more, ":"))) continue;
    if (!append(lines, more, len)) return CRUX_HEADERS_TOO_LONG;
  }
  return CRUX_HEADERS_OK;
}

crux_headers_problem crux_check_headers(lua_State *L, int index) {
  crux_header_lines lines;
  crux_headers_problem problem;
  crux_header_lines_clear(&lines);
  problem = crux_header_lines_add_table(&lines, L, index);
  crux_header_lines_wipe(&lines);
  return problem;
}
