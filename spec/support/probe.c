/* A Lua module: the pure functions of csrc/http/outcome.c, which crux.core does not export.
   Compiled with that file, by the spec, for the Lua that runs it. */
#include "http/outcome.h"

#include <lauxlib.h>
#include <lua.h>

static const char *const causes[] = {
  [CRUX_CAUSE_NONE] = "none", [CRUX_CAUSE_ABORTED] = "aborted",
  [CRUX_CAUSE_UNSOLICITED] = "unsolicited", [CRUX_CAUSE_MALFORMED] = "malformed",
  [CRUX_CAUSE_HEAD_CUT] = "head_cut", [CRUX_CAUSE_HEAD_LIMIT] = "head_limit",
  [CRUX_CAUSE_ALERT] = "alert", [CRUX_CAUSE_NOMEM] = "nomem", [CRUX_CAUSE_NOFILE] = "nofile",
  [CRUX_CAUSE_EXPIRED] = "expired", [CRUX_CAUSE_EXITING] = "exiting", [CRUX_CAUSE_FORKED] = "forked",
};

/* judge(code, cause, status, flags, retry_after, safe, proxy_status) → outcome, kind, retryable;
   the cause by its index from 0, and flags the sum of 1: head whole, 2: sent, 4: tls, 8: proxied,
   16: connected */
static int judge(lua_State *L) {
  crux_evidence e;
  crux_verdict v;
  int flags = (int)luaL_checknumber(L, 4);
  e.code = (CURLcode)luaL_checknumber(L, 1);
  e.cause = (crux_cause)luaL_checknumber(L, 2);
  e.status = (int)luaL_checknumber(L, 3);
  e.head = flags & 1;
  e.sent = flags & 2;
  e.tls = flags & 4;
  e.proxied = flags & 8;
  e.connected = flags & 16;
  e.proxy_status = (int)luaL_optnumber(L, 7, 0);
  v = crux_judge(&e);
  lua_pushstring(L, crux_outcome_name(v.outcome));
  lua_pushstring(L, crux_kind_name(v.kind));
  lua_pushboolean(L, crux_retryable(v, e.status, lua_toboolean(L, 5), lua_toboolean(L, 6)));
  return 3;
}

/* retry_after(text, now) → seconds, -1 for neither a number nor a date */
static int retry_after(lua_State *L) {
  lua_pushnumber(L, crux_retry_after(luaL_checkstring(L, 1), (time_t)luaL_checknumber(L, 2)));
  return 1;
}

int luaopen_probe(lua_State *L);

int luaopen_probe(lua_State *L) {
  size_t i;
  lua_newtable(L);
  lua_pushcfunction(L, judge);
  lua_setfield(L, -2, "judge");
  lua_pushcfunction(L, retry_after);
  lua_setfield(L, -2, "retry_after");
  lua_newtable(L);
  for (i = 0; i < sizeof causes / sizeof *causes; i++) {
    lua_pushinteger(L, (lua_Integer)i);
    lua_setfield(L, -2, causes[i]);
  }
  lua_setfield(L, -2, "causes");
  lua_pushinteger(L, CURLE_OK);
  lua_setfield(L, -2, "ok");
  lua_pushinteger(L, CURL_LAST - 1);
  lua_setfield(L, -2, "last_code");
  return 1;
}
