/* secrets: see secrets.h. The body is JSON of crux's own: no blanks between tokens, and "\u" before
   control characters alone. */
#include "secrets.h"

#include "error.h"

#include <string.h>

/* The JSON string at `s`, with its quotes: where it ends. */
static const char *end_of_string(const char *s) {
  for (s++; *s != '"'; s++)
    if (*s == '\\') s++;
  return s + 1;
}

static bool is_secret(const crux_endpoint *endpoint, const char *name, size_t len) {
  const crux_field *field = endpoint->fields;
  for (; field->name; field++)
    if ((field->flags & CRUX_SECRET) && strlen(field->name) == len &&
        memcmp(field->name, name, len) == 0)
      return true;
  return false;
}

/* The next secret value, a string, from `s` on; `*value_end` is its end. NULL: there is none. */
static const char *next_secret(const crux_endpoint *endpoint, const char *s, const char *end,
                               const char **value_end) {
  while (s < end) {
    const char *name = s;
    if (*s != '"') {
      s++;
      continue;
    }
    s = end_of_string(s);
    if (s + 1 >= end || s[0] != ':' || s[1] != '"') continue;
    if (!is_secret(endpoint, name + 1, (size_t)(s - name) - 2)) continue;
    *value_end = end_of_string(s + 1);
    return s + 1;
  }
  return NULL;
}

void crux_push_redacted_body(lua_State *L, const crux_endpoint *endpoint, const crux_request *r) {
  const char *s = r->body, *end = r->body + r->body_len, *value, *value_end = NULL;
  luaL_Buffer shown;
  luaL_buffinit(L, &shown);
  while ((value = next_secret(endpoint, s, end, &value_end))) {
    luaL_addlstring(&shown, s, (size_t)(value - s));
    luaL_addstring(&shown, "\"[redacted]\"");
    s = value_end;
  }
  luaL_addlstring(&shown, s, (size_t)(end - s));
  luaL_pushresult(&shown);
}

static char unescaped(const char *s) {
  static const char digits[] = "0123456789abcdef";
  switch (*s) {
    case 'b': return '\b';
    case 't': return '\t';
    case 'n': return '\n';
    case 'f': return '\f';
    case 'r': return '\r';
    case 'u': return (char)((strchr(digits, s[3]) - digits) * 16 + (strchr(digits, s[4]) - digits));
    default: return *s;
  }
}

static void push_unescaped(lua_State *L, const char *s, const char *end) {
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  for (; s < end; s++) {
    char c = *s;
    if (c == '\\') {
      c = unescaped(++s);
      if (*s == 'u') s += 4;
    }
    luaL_addlstring(&text, &c, 1);
  }
  luaL_pushresult(&text);
}

void crux_redact_body_secrets(lua_State *L, size_t most, const crux_endpoint *endpoint,
                              const crux_request *r) {
  const char *s = r->body, *end = s + r->body_len, *value, *value_end = NULL, *plain;
  size_t len;
  if (!r->body) return;
  for (; (value = next_secret(endpoint, s, end, &value_end)); s = value_end) {
    push_unescaped(L, value + 1, value_end - 1);
    plain = lua_tolstring(L, -1, &len);
    lua_insert(L, -2);
    crux_sanitize(L, most, plain, len);
    lua_remove(L, -2);
    crux_sanitize(L, most, value + 1, (size_t)(value_end - value) - 2);
  }
}
