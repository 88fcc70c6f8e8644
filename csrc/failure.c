/* failure: errors as users see them, of what was not sent. */
#include "upper.h"

#include <string.h>

/* The one line for a log. Fields are read raw: an error may have been changed by whoever held it. */
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

void crux_failure_open(lua_State *L) {
  int state = lua_gettop(L);
  lua_newtable(L);
  lua_pushcfunction(L, failure_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "crux.error");
  lua_setfield(L, -2, "__name");
  lua_rawseti(L, state, CRUX_CLASS_ERROR);
}

static const char *hint_for(crux_kind kind, const char *field) {
  if (kind == CRUX_KIND_AUTH) return "log in for a token and give it as `token`, or in the environment as CRUX_TOKEN";
  if (kind == CRUX_KIND_INVALID && field && strcmp(field, "base_url") == 0)
    return "crux.SANDBOX and crux.PRODUCTION are the service's own";
  return NULL;
}

void crux_push_failure(lua_State *L, crux_kind kind, const char *field) {
  const char *hint = hint_for(kind, field);
  int message = lua_gettop(L), err = message + 1;
  lua_createtable(L, 0, 7);
  crux_set_text(L, CRUX_KEY_outcome, crux_outcome_name(CRUX_NOT_SENT));
  crux_set_text(L, CRUX_KEY_kind, crux_kind_name(kind));
  lua_pushvalue(L, message);
  crux_setkey(L, err, CRUX_KEY_message);
  crux_set_boolean(L, CRUX_KEY_retryable, crux_retryable((crux_verdict){ CRUX_NOT_SENT, kind, false }, 0, false, false));
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
