/* client: see client.h. */
#include "client.h"

#include "../os/process.h"
#include "error.h"
#include "invalid.h"
#include "json.h"
#include "options.h"
#include "perform.h"
#include "request.h"

static crux_client *check_client(lua_State *L) {
  crux_client *c = crux_check(L, 1, CRUX_CLASS_CLIENT);
  if (c->closed) luaL_error(L, "the client is closed");
  return c;
}

static int client_close(lua_State *L) {
  crux_client *c = crux_check(L, 1, CRUX_CLASS_CLIENT);
  c->closed = true;
  crux_sweep(L);
  return 0;
}

static int client_gc(lua_State *L) {
  crux_client *c = crux_check(L, 1, CRUX_CLASS_CLIENT);
  crux_config_release(c->config);
  c->config = NULL;
  c->closed = true;
  crux_sweep(L);
  return 0;
}

/* core.client(options, environment) → client | nil, err: for the Lua layer, which adds what the
   environment sets; `environment`: token and user are set by it. */
int crux_client_new(lua_State *L) {
  const crux_field_list lists[] = { crux_lua_options, { NULL, 0 } };
  crux_client *c;
  crux_settings defaults;
  crux_snapshot s;
  crux_base_url url;
  crux_invalid invalid;
  bool environment;
  luaL_checktype(L, 1, LUA_TTABLE);
  crux_default_settings(&defaults);
  environment = lua_toboolean(L, 2);
  lua_settop(L, 1);
  /* its finalizer would not be run any more */
  if (crux_json_is_gone(L))
    return crux_fail(L, CRUX_KIND_ABORTED, "the Lua state is being closed");
  c = crux_new_object(L, sizeof *c, CRUX_CLASS_CLIENT);
  crux_snapshot_take(L, 1, lists, &s);
  if (crux_schema_check(L, &s, NULL, &url, &invalid))
    c->config = crux_make_config(L, &s, &url, &defaults, 0, &invalid);
  if (!c->config) return crux_fail_invalid(L, &invalid, crux_snapshot_text(L, &s, "token"));
  c->config->settings.environment = environment;
  lua_settop(L, 2);
  return 1;
}

/* The endpoint whose name is at index 2; raises if there is none. The Lua layer has checked the
   name, with a message that lists all of them. */
static const crux_endpoint *check_endpoint(lua_State *L) {
  const crux_endpoint *endpoint = crux_endpoint_find(luaL_checkstring(L, 2));
  if (!endpoint) luaL_argerror(L, 2, "expected the name of a call");
  return endpoint;
}

/* client:prepare(name, arguments) → request, its timeout in seconds, whether options stand among
   the arguments; or nil, err */
static int client_prepare(lua_State *L) {
  crux_client *c = check_client(L);
  const crux_endpoint *endpoint = check_endpoint(L);
  crux_request_handle *handle;
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  handle = crux_push_request(L);
  if (crux_prepare(L, handle, endpoint, 3, c->config, &crux_lua_options) != 0) return 2;
  lua_pushnumber(L, handle->config->settings.timeout);
  lua_pushboolean(L, handle->config != c->config);
  return 3;
}

/* client:attempt(name, arguments): the first attempt, without a request that Lua has to hold. →
   - result, if it was accepted;
   - nil, err, and the request, its deadline and whether options stand among the arguments, if it
     failed: for further attempts;
   - nil, err, if the arguments are invalid;
   - nil, nil, and the same three values, if options stand among the arguments: no attempt was made,
     since the Lua layer has to read the options first */
static int client_attempt(lua_State *L) {
  crux_client *c = check_client(L);
  const crux_endpoint *endpoint = check_endpoint(L);
  crux_request_handle *handle;
  double now;
  int count;
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  handle = crux_take_reusable_request(L);
  count = crux_prepare(L, handle, endpoint, 3, c->config, &crux_lua_options);
  if (count == 0) {
    now = crux_now();
    if (handle->config != c->config) {
      lua_pushnil(L);
      lua_pushnil(L);
      count = 2;
    } else count = crux_perform(L, handle, NULL, now + handle->config->settings.timeout);
    if (count == 2) {
      lua_pushvalue(L, 4);
      lua_pushnumber(L, now + handle->config->settings.timeout);
      lua_pushboolean(L, handle->config != c->config);
      return 5;
    }
  }
  crux_put_reusable_request(L, handle, 4);
  return count;
}

/* client:describe(open) → what it is, without the token; `open`: raises if it is closed */
static int client_describe(lua_State *L) {
  bool open = lua_toboolean(L, 2);
  const crux_client *c = open ? check_client(L) : crux_check(L, 1, CRUX_CLASS_CLIENT);
  if (c->closed) lua_pushliteral(L, "crux.client (closed)");
  else {
    const crux_settings *s = &c->config->settings;
    lua_pushfstring(L, "crux.client (%s%s%s)", s->origin, s->prefix, s->api_prefix);
  }
  return 1;
}

void crux_client_setup(lua_State *L) {
  static const luaL_Reg methods[] = {
    { "prepare", client_prepare },
    { "attempt", client_attempt },
    { "describe", client_describe },
    { "close", client_close },
    { NULL, NULL },
  };
  crux_new_class(L, CRUX_CLASS_CLIENT, client_gc, methods);
}
