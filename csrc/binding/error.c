/* error: errors as users see them, of what was not sent; and how any text becomes fit for a
   log. */
#include "error.h"

#include "json.h"
#include "meta.h"

#include <string.h>

/* The one line for a log. Fields are read raw: an error may have been changed by whoever held
   it. */
static int failure_tostring(lua_State *L) {
  static const char *const names[] = { "outcome", "kind", "message" };
  int i;
  luaL_checktype(L, 1, LUA_TTABLE);
  for (i = 0; i < 3; i++) {
    lua_pushstring(L, names[i]);
    lua_rawget(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING) {
      lua_pop(L, 1);
      lua_pushliteral(L, "?");
    }
  }
  lua_pushfstring(L, "%s (%s): %s", lua_tostring(L, -3), lua_tostring(L, -2), lua_tostring(L, -1));
  return 1;
}

void crux_failure_setup(lua_State *L) {
  int state = lua_gettop(L);
  lua_newtable(L);
  lua_pushcfunction(L, failure_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "crux.error");
  lua_setfield(L, -2, "__name");
  lua_rawseti(L, state, CRUX_CLASS_ERROR);
}

/* --- text for logs --- */

void crux_redact(lua_State *L, const char *token) {
  if (!token[0]) return;
  luaL_gsub(L, lua_tostring(L, -1), token, "[redacted]");
  lua_remove(L, -2);
}

/* The character at `s`, and its bytes in `*bytes`; -1 for a byte that is not UTF-8. */
static long decode(const char *s, size_t left, size_t *bytes) {
  unsigned char lead = (unsigned char)*s;
  size_t len = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4, i;
  long c = len == 1 ? lead : lead & (0xFF >> (len + 1));
  *bytes = 1;
  if (len > left || !crux_is_utf8(s, len)) return -1;
  for (i = 1; i < len; i++) c = c << 6 | ((unsigned char)s[i] & 0x3F);
  *bytes = len;
  return c;
}

/* Characters that are seen by what they do to the text around them: they turn its direction,
   end its line, hide in it or steer a terminal. */
static bool is_printable(long c) {
  static const struct {
    long first, last;
  } others[] = {
    { 0x80, 0x9F },     { 0xAD, 0xAD },     { 0x61C, 0x61C },   { 0x180E, 0x180E },
    { 0x200B, 0x200B }, { 0x200E, 0x200F }, { 0x202A, 0x202E }, { 0x2060, 0x206F },
    { 0xFEFF, 0xFEFF }, { 0xFFF0, 0xFFFB }, { 0xE0000, 0xE0FFF },
  };
  size_t i;
  for (i = 0; i < sizeof others / sizeof *others; i++) {
    if (c >= others[i].first && c <= others[i].last) return false;
  }
  return c >= 0 && (c & 0xFFFE) != 0xFFFE;
}

static bool is_blank(long c) {
  return (c >= 0 && c <= ' ') || c == 0x7F || c == 0x85 || c == 0x2028 || c == 0x2029;
}

void crux_sanitize(lua_State *L, size_t most, const char *token, size_t token_len) {
  char line[CRUX_MESSAGE_MAX];
  size_t len = 0, whole = 0, left, bytes, piece_len;
  const char *s = lua_tolstring(L, -1, &left), *piece;
  while (left > 0) {
    long c = decode(s, left, &bytes);
    piece = s;
    piece_len = bytes;
    if (token && token_len > 0 && left >= token_len && memcmp(s, token, token_len) == 0) {
      piece = "[redacted]";
      piece_len = strlen(piece);
      bytes = token_len;
    } else if (is_blank(c)) {
      piece = " ";
      piece_len = 1;
    } else if (!is_printable(c)) {
      piece = "\xEF\xBF\xBD"; /* U+FFFD, the replacement character */
      piece_len = 3;
    }
    if (len + piece_len > most) {
      memcpy(line + whole, "...", 3);
      len = whole + 3;
      break;
    }
    memcpy(line + len, piece, piece_len);
    len += piece_len;
    if (len + 3 <= most) whole = len; /* there is still room for the dots */
    s += bytes;
    left -= bytes;
  }
  lua_pushlstring(L, line, len);
  lua_remove(L, -2);
}

/* --- errors of what was not sent --- */

static const char *hint_for(crux_kind kind, const char *field) {
  if (kind == CRUX_KIND_AUTH)
    return "give a token, or a username and a password, as options or in the environment";
  if (kind == CRUX_KIND_INVALID && field && strcmp(field, "base_url") == 0)
    return "crux.SANDBOX and crux.PRODUCTION are the service's own";
  return NULL;
}

void crux_push_failure(lua_State *L, crux_kind kind, const char *field) {
  const crux_verdict verdict = { CRUX_NOT_SENT, kind, false };
  const char *hint = hint_for(kind, field);
  int message = lua_gettop(L), err = message + 1;
  crux_sanitize(L, CRUX_MESSAGE_MAX, NULL, 0);
  lua_createtable(L, 0, 7);
  crux_set_text(L, CRUX_KEY_outcome, crux_outcome_name(CRUX_NOT_SENT));
  crux_set_text(L, CRUX_KEY_kind, crux_kind_name(kind));
  lua_pushvalue(L, message);
  crux_setkey(L, err, CRUX_KEY_message);
  crux_set_boolean(L, CRUX_KEY_retryable, crux_retryable(verdict, 0, false, false));
  if (field) crux_set_text(L, CRUX_KEY_field, field);
  if (hint) crux_set_text(L, CRUX_KEY_hint, hint);
  crux_push_meta(L, NULL);
  crux_setkey(L, err, CRUX_KEY_meta);
  crux_set_class(L, CRUX_CLASS_ERROR);
  lua_remove(L, -2);
}

int crux_fail(lua_State *L, crux_kind kind, const char *message) {
  lua_pushnil(L);
  lua_pushstring(L, message);
  crux_push_failure(L, kind, NULL);
  return 2;
}
