/* field_errors: the server's validation errors. From the body of the response it makes err.detail,
   the message, and err.fields, a flat table from the path of a field to the texts about it. Time
   and memory are linear in the size of the body, and bounded. */
#include "field_errors.h"

#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LONGEST_PATH 256 /* bytes; a longer one is cut off and ends in ... */
#define MOST_TEXTS 10000
#define LONGEST_TEXT 256 /* bytes of a body of plain text that is taken for a message */

/* One walk through a decoded body. */
typedef struct {
  int fields;               /* the table that is filled */
  int texts;                /* how many texts are in it */
  const void *source;       /* the table in the body that `detail` was taken from, */
  const char *source_name;  /* and the name of its field there */
  const void *problem;      /* the body, if it is an RFC 9457 problem */
  size_t len;               /* of the path of the field that is being visited */
  char path[LONGEST_PATH + sizeof "..."];
} walk;

/* --- paths --- */

static void append(walk *w, const char *s, size_t len) {
  size_t left = w->len < LONGEST_PATH ? LONGEST_PATH - w->len : 0;
  if (left == 0) return;
  if (len <= left) {
    memcpy(w->path + w->len, s, len);
    w->len += len;
    return;
  }
  while (left > 0 && ((unsigned char)s[left] & 0xC0) == 0x80) left--; /* cut between characters */
  memcpy(w->path + w->len, s, left);
  memcpy(w->path + w->len + left, "...", 3);
  w->len += left + 3;
}

static void append_index(walk *w, int index) {
  char text[32];
  append(w, text, (size_t)snprintf(text, sizeof text, "[%d]", index));
}

/* Django REST Framework sends the errors of a list as an object whose names are indices from 0, so
   that it can leave out the items without an error. */
static bool is_index(const char *name, size_t len) {
  return len > 0 && len < 9 && strspn(name, "0123456789") == len;
}

/* Appends the key at an index of the stack. The index of a text in a list is no part of its path;
   `in_path`: the value is a table, so it is. */
static void append_key(lua_State *L, walk *w, int key, bool in_path) {
  size_t len;
  const char *name;
  if (lua_type(L, key) == LUA_TNUMBER) {
    if (in_path) append_index(w, (int)lua_tonumber(L, key));
    return;
  }
  name = lua_tolstring(L, key, &len);
  if (strcmp(name, "non_field_errors") == 0) return;
  if (w->len > 0 && is_index(name, len)) {
    append_index(w, atoi(name) + 1);
    return;
  }
  if (w->len > 0) append(w, ".", 1);
  append(w, name, len);
}

/* --- the walk --- */

/* Pops the string or number on top and appends it to the list in `fields` for the path. */
static void add_text(lua_State *L, walk *w) {
  if (w->texts >= MOST_TEXTS) {
    lua_pop(L, 1);
    return;
  }
  lua_tostring(L, -1);
  lua_pushlstring(L, w->path, w->len);
  lua_pushvalue(L, -1);
  lua_rawget(L, w->fields);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, w->fields);
  }
  w->texts++;
  lua_pushvalue(L, -3);
  lua_rawseti(L, -2, (int)crux_rawlen(L, -2) + 1);
  lua_pop(L, 3);
}

/* Whether a field of the body is not about a field of the request. */
static bool is_skipped(lua_State *L, const walk *w, int table, int key) {
  static const char *const members[] = { "type", "title", "status", "instance" }; /* RFC 9457 3.1 */
  const char *name = lua_type(L, key) == LUA_TSTRING ? lua_tostring(L, key) : NULL;
  const void *p = lua_topointer(L, table);
  size_t i;
  if (!name) return false;
  if (p == w->source && strcmp(name, w->source_name) == 0) return true;
  for (i = 0; p == w->problem && i < sizeof members / sizeof *members; i++) {
    if (strcmp(name, members[i]) == 0) return true;
  }
  return false;
}

/* Adds all strings and numbers in the table at `table`, which is at the walk's path. */
static void walk_table(lua_State *L, walk *w, int table) {
  size_t len = w->len;
  luaL_checkstack(L, 8, "field errors nested too deeply");
  lua_pushnil(L);
  while (w->texts < MOST_TEXTS) {
    int type;
    if (!lua_next(L, table)) return;
    type = lua_type(L, -1);
    if (is_skipped(L, w, table, table + 1)) {
      lua_pop(L, 1);
      continue;
    }
    append_key(L, w, table + 1, type == LUA_TTABLE);
    if (type == LUA_TTABLE) walk_table(L, w, table + 2);
    if (type == LUA_TSTRING || type == LUA_TNUMBER) add_text(L, w);
    lua_settop(L, table + 1);
    w->len = len;
  }
  lua_pop(L, 1);
}

/* --- detail: each pushes a string and returns true, or pushes nothing --- */

/* A field of the table at `index`, if it is a string that is not empty. */
static bool push_text(lua_State *L, walk *w, int index, const char *name) {
  lua_pushstring(L, name);
  lua_rawget(L, index);
  if (lua_type(L, -1) == LUA_TSTRING && crux_rawlen(L, -1) > 0) {
    w->source = lua_topointer(L, index);
    w->source_name = name;
    return true;
  }
  lua_pop(L, 1);
  return false;
}

/* The first such field of several names. */
static bool push_first_text(lua_State *L, walk *w, int index, const char *const names[]) {
  for (; *names; names++) {
    if (push_text(L, w, index, *names)) return true;
  }
  return false;
}

/* The first such field of the table in a field, or of the first table of the list in it. */
static bool push_inner_text(lua_State *L, walk *w, int index, const char *field,
                            const char *const names[]) {
  int top = lua_gettop(L);
  lua_pushstring(L, field);
  lua_rawget(L, index);
  if (lua_type(L, -1) == LUA_TTABLE) {
    lua_rawgeti(L, -1, 1);
    if (lua_type(L, -1) != LUA_TTABLE) lua_pop(L, 1);
    if (push_first_text(L, w, lua_gettop(L), names)) {
      lua_replace(L, top + 1);
      lua_settop(L, top + 1);
      return true;
    }
  }
  lua_settop(L, top);
  return false;
}

/* The first item of a list, if it is a string; it is also a field error. */
static bool push_first_item(lua_State *L, int list) {
  lua_rawgeti(L, list, 1);
  if (lua_type(L, -1) == LUA_TSTRING) return true;
  lua_pop(L, 1);
  return false;
}

/* The message in the decoded body at `body`, a table. */
static bool push_detail(lua_State *L, walk *w, int body) {
  static const char *const inner[] = { "detail", "message", "title", NULL };
  static const char *const outer[] = { "message", "error_description", "title", "error", NULL };
  bool found;
  lua_pushliteral(L, "detail");
  lua_rawget(L, body);
  if (lua_type(L, -1) == LUA_TSTRING) {
    w->source = lua_topointer(L, body);
    w->source_name = "detail";
    return true;
  }
  found = lua_type(L, -1) == LUA_TTABLE && push_first_item(L, lua_gettop(L));
  if (found) lua_remove(L, -2);
  else lua_pop(L, 1);
  return found || push_first_item(L, body) || push_inner_text(L, w, body, "error", inner) ||
         push_inner_text(L, w, body, "errors", inner) || push_first_text(L, w, body, outer);
}

/* Whether the decoded body is an RFC 9457 problem. */
static bool is_problem(lua_State *L, const char *media_type, int body) {
  int title, other;
  if (media_type && strncasecmp(media_type, "application/problem+json", 24) == 0) return true;
  lua_getfield(L, body, "title");
  lua_getfield(L, body, "status");
  lua_getfield(L, body, "type");
  title = lua_type(L, -3);
  other = lua_type(L, -2) == LUA_TNUMBER || lua_type(L, -1) == LUA_TSTRING;
  lua_pop(L, 3);
  return title == LUA_TSTRING && other;
}

/* --- a body that is not JSON --- */

static bool is_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

/* Whether a body is a short message for people, not a page, data or a fragment of either. Without
   a media type it must begin with a letter and have more than one word. */
static bool is_message(const char *media_type, const char *s, size_t len) {
  size_t i, letters = 0;
  if (len == 0 || len > LONGEST_TEXT || !crux_is_utf8(s, len)) return false;
  for (i = 0; i < len; i++) {
    if ((unsigned char)s[i] < ' ' && !strchr("\t\r\n", s[i])) return false;
    if (s[i] == '\0') return false;
    if (is_letter(s[i]) || (s[i] & 0x80)) letters++;
  }
  if (media_type) return strncasecmp(media_type, "text/plain", 10) == 0 && letters > 0;
  return is_letter(s[0]) && memchr(s, ' ', len);
}

static void set_plain_detail(lua_State *L, int err, const char *media_type) {
  size_t len;
  const char *s;
  crux_getkey(L, err, CRUX_KEY_raw);
  s = lua_tolstring(L, -1, &len);
  while (len > 0 && strchr(" \t\r\n", s[len - 1]) && s[len - 1]) len--;
  if (!s || !is_message(media_type, s, len)) return;
  lua_pushlstring(L, s, len);
  crux_setkey(L, err, CRUX_KEY_detail);
}

/* --- both --- */

static void set_from_table(lua_State *L, int err, int body, const char *media_type) {
  walk w = { 0 };
  if (push_detail(L, &w, body)) crux_setkey(L, err, CRUX_KEY_detail);
  if (is_problem(L, media_type, body)) w.problem = lua_topointer(L, body);
  lua_newtable(L);
  w.fields = lua_gettop(L);
  lua_pushvalue(L, body);
  walk_table(L, &w, w.fields + 1);
  lua_pop(L, 1);
  if (w.texts > 0) crux_setkey(L, err, CRUX_KEY_fields);
}

void crux_set_field_errors(lua_State *L, bool whole, const char *media_type) {
  int err = lua_gettop(L), body = err + 1;
  crux_getkey(L, err, CRUX_KEY_body);
  switch (lua_type(L, body)) {
    case LUA_TSTRING:
      lua_pushvalue(L, body);
      crux_setkey(L, err, CRUX_KEY_detail);
      break;
    case LUA_TTABLE: set_from_table(L, err, body, media_type); break;
    case LUA_TNIL:
      if (whole) set_plain_detail(L, err, media_type);
      break;
    default: break;
  }
  lua_settop(L, err);
}

bool crux_push_first_field_error(lua_State *L, int err) {
  int fields = lua_gettop(L) + 1, first = fields + 1;
  crux_getkey(L, err, CRUX_KEY_fields);
  if (!lua_istable(L, fields)) {
    lua_pop(L, 1);
    return false;
  }
  lua_pushnil(L);
  lua_pushnil(L);
  while (lua_next(L, fields)) {
    lua_pop(L, 1);
    if (!lua_isnil(L, first) && strcmp(lua_tostring(L, -1), lua_tostring(L, first)) >= 0) continue;
    lua_pushvalue(L, -1);
    lua_replace(L, first);
  }
  lua_pushvalue(L, first);
  if (crux_rawlen(L, first) > 0) lua_pushliteral(L, ": ");
  lua_pushvalue(L, first);
  lua_rawget(L, fields);
  lua_rawgeti(L, -1, 1);
  lua_remove(L, -2);
  lua_concat(L, lua_gettop(L) - first);
  lua_replace(L, fields);
  lua_settop(L, fields);
  return true;
}
