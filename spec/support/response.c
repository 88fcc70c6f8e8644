/* A Lua module: the parser of csrc/http/response.c. Compiled with that file by
   spec/support/forks.lua, for the Lua that runs it. */
#include "../../csrc/http/buffer.c"
#include "../../csrc/http/response.c"
#include "verdict.h"

#include <lauxlib.h>
#include <lua.h>

static const char *const REFUSALS[] = {NULL,       "status line", "field",    "length",
                                       "too long", "cut",         "no memory"};
static const char *const BODY_ENDS[] = {"whole", "cut", "broken", "coded", "limit", "no memory"};

/* { name, value, name, value, … } */
static void push_fields(lua_State *L, const crux_response *r) {
  size_t at = 0;
  int n = 0;
  lua_newtable(L);
  while (at < r->fields.len) {
    lua_pushstring(L, r->fields.data + at);
    at += strlen(r->fields.data + at) + 1;
    lua_rawseti(L, -2, ++n);
  }
}

static void set_number(lua_State *L, const char *name, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, name);
}

static void set_boolean(lua_State *L, const char *name, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

static void push_verdict(lua_State *L, const verdict *v) {
  const crux_response *r = &v->response;
  lua_newtable(L);
  set_boolean(L, "awaits_end", v->awaits_end);
  set_number(L, "status", r->status);
  set_number(L, "field_count", r->field_count);
  lua_pushstring(L, r->version);
  lua_setfield(L, -2, "version");
  push_fields(L, r);
  lua_setfield(L, -2, "fields");
  lua_pushlstring(L, r->body.len ? r->body.data : "", r->body.len);
  lua_setfield(L, -2, "body");
  lua_pushstring(L, REFUSALS[r->refusal]);
  lua_setfield(L, -2, "refused");
  if (r->state == CRUX_RESPONSE_REFUSED) return;
  lua_pushstring(L, BODY_ENDS[r->body_end]);
  lua_setfield(L, -2, "body_end");
  set_boolean(L, "persistent", !v->awaits_end && v->persistent);
  if (r->body_end <= CRUX_BODY_CUT || r->body_end == CRUX_BODY_CODED)
    set_number(L, "left", (double)v->left);
  if (r->keep_alive_timeout >= 0) set_number(L, "keep_alive", (double)r->keep_alive_timeout);
}

/* parse(bytes, max_body) → what the parser makes of them and the connection's end */
static int parse(lua_State *L) {
  size_t len;
  const char *data = luaL_checklstring(L, 1, &len);
  verdict v;
  verdict_make(&v, data, len, (size_t)luaL_checknumber(L, 2), len, 1);
  push_verdict(L, &v);
  verdict_free(&v);
  return 1;
}

/* Deep inside a run of one byte, all cuts are alike, and one in 1024 is tried. */
static bool is_like_last(const char *data, size_t len, size_t cut) {
  return cut % 1024 != 0 && cut >= 64 && len - cut >= 64 &&
         memcmp(data + cut - 64, data + cut - 63, 127) == 0;
}

/* differing_cut(bytes, max_body) → nothing if the verdict is the same however the bytes are cut;
   else the length of the first of two pieces with which it differs, 0 for single bytes */
static int differing_cut(lua_State *L) {
  size_t len, cut, max_body = (size_t)luaL_checknumber(L, 2);
  const char *data = luaL_checklstring(L, 1, &len);
  verdict whole, cut_up;
  bool is_same = true;
  verdict_make(&whole, data, len, max_body, len, 1);
  for (cut = 0; is_same && cut < len; cut++) {
    if (is_like_last(data, len, cut)) continue;
    verdict_make(&cut_up, data, len, max_body, cut > 0 ? cut : 1, cut > 0 ? len : 1);
    is_same = verdict_same(&whole, &cut_up);
    verdict_free(&cut_up);
  }
  verdict_free(&whole);
  if (!is_same) lua_pushnumber(L, (double)(cut - 1));
  return !is_same;
}

int luaopen_response(lua_State *L);

int luaopen_response(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, parse);
  lua_setfield(L, -2, "parse");
  lua_pushcfunction(L, differing_cut);
  lua_setfield(L, -2, "differing_cut");
  return 1;
}
