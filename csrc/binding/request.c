/* request: arguments, made ready to be sent; and the userdata that holds them. */
#include "request.h"

#include "../os/process.h"
#include "arguments.h"
#include "client.h"
#include "error.h"
#include "fault.h"
#include "json.h"
#include "perform.h"

#include <string.h>

crux_request_handle *crux_check_handle(lua_State *L, int index) {
  return crux_check(L, index, CRUX_CLASS_REQUEST);
}

crux_request *crux_check_request(lua_State *L, int index) {
  crux_request *request = crux_check_handle(L, index)->request;
  if (!request) luaL_error(L, "the request has ended");
  return request;
}

static bool has_options(lua_State *L, int index, bool policy) {
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING && crux_is_option(lua_tostring(L, -1), policy)) {
      lua_pop(L, 1);
      return true;
    }
  }
  return false;
}

crux_request_handle *crux_push_request(lua_State *L) {
  crux_request_handle *handle = crux_new_object(L, sizeof *handle, CRUX_CLASS_REQUEST);
  handle->generation = crux_process_generation();
  return handle;
}

void crux_release_request(crux_request_handle *handle) {
  crux_request_release(handle->request);
  crux_config_release(handle->config);
  handle->request = NULL;
  handle->config = NULL;
}

int crux_prepare(lua_State *L, crux_request_handle *handle, const crux_endpoint *endpoint,
                 int index, crux_config *client, bool policy) {
  crux_settings base;
  const char *target = endpoint->path, *star = strchr(target, '*'), *body = NULL, *token;
  size_t len = 0;
  crux_checked c = { index, client ? client->settings.token : NULL, 0, false, false };
  bool options = false;
  int top = lua_gettop(L), faults, wrong;
  if (crux_json_is_gone(L))
    return crux_fail(L, CRUX_KIND_ABORTED, "the Lua state is being closed");
  faults = crux_check_arguments(L, endpoint->fields, &c);
  /* unknown fields come first, so they are looked for only where there must be some or a fault
     was found */
  if (faults || c.foreign) {
    token = crux_token_of(L, index, c.token);
    if (crux_push_unknown(L, index, "", endpoint->fields, true, policy, token) ||
        crux_push_unknown_within(L, index, endpoint->fields, token))
      return 2;
    options = has_options(L, index, policy);
  }
  if (client && !options) handle->config = crux_config_retain(client);
  else {
    if (client) base = client->settings;
    else crux_default_settings(&base);
    wrong = crux_read_options(L, index, &base, policy, client ? client->client : 0,
                              &handle->config);
    if (wrong) return wrong;
  }
  if (faults) return faults;
  if (star) {
    lua_pushlstring(L, target, (size_t)(star - target));
    lua_pushstring(L, endpoint->fields->name);
    lua_rawget(L, index);
    lua_pushstring(L, star + 1);
    lua_concat(L, 3);
    target = lua_tostring(L, -1);
  }
  if (endpoint->has_body) {
    crux_push_sent(L, endpoint->fields, &c);
    crux_json_encode(L);
    body = lua_tolstring(L, -1, &len);
  }
  handle->request = crux_request_new(handle->config, endpoint->method, target, endpoint->safe, body,
                                     len);
  if (!handle->request) return crux_fail(L, CRUX_KIND_MEMORY, "out of memory");
  handle->safe = endpoint->safe;
  lua_settop(L, top);
  return 0;
}

/* request:describe() → method, url, whether it changes nothing */
static int request_describe(lua_State *L) {
  const crux_request *r = crux_check_request(L, 1);
  lua_pushstring(L, r->method);
  lua_pushstring(L, r->url);
  lua_pushboolean(L, r->safe);
  return 3;
}

/* request:inherited() → whether this is a forked child, and the request its parent's */
static int request_inherited(lua_State *L) {
  lua_pushboolean(L, crux_check_handle(L, 1)->generation != crux_process_generation());
  return 1;
}

/* request:has_token(); false once it is released */
static int request_has_token(lua_State *L) {
  const crux_request *r = crux_check_handle(L, 1)->request;
  lua_pushboolean(L, r && r->config->settings.token != NULL);
  return 1;
}

/* Pushes a table of the field lines of a head, by their names on the wire. */
static void push_field_lines(lua_State *L, const char *line, const char *end) {
  const char *colon, *next;
  lua_createtable(L, 0, 8);
  for (; line < end; line = next + 2) {
    next = strstr(line, "\r\n");
    colon = strchr(line, ':');
    lua_pushlstring(L, line, (size_t)(colon - line));
    lua_pushlstring(L, colon + 2, (size_t)(next - colon - 2));
    lua_rawset(L, -3);
  }
}

/* request:dry_run() → { method, url, headers, body } */
static int request_dry_run(lua_State *L) {
  const crux_request *r = crux_check_request(L, 1);
  int dry;
  lua_createtable(L, 0, 4);
  dry = lua_gettop(L);
  crux_set_text(L, CRUX_KEY_method, r->method);
  crux_set_text(L, CRUX_KEY_url, r->url);
  push_field_lines(L, strstr(r->head, "\r\n") + 2, r->head + r->head_len);
  lua_pushliteral(L, "Token [redacted]");
  lua_setfield(L, -2, "Authorization");
  crux_setkey(L, dry, CRUX_KEY_headers);
  if (r->body) {
    lua_pushlstring(L, r->body, r->body_len);
    crux_setkey(L, dry, CRUX_KEY_body);
  }
  return 1;
}

const luaL_Reg crux_request_methods[] = {
  { "describe", request_describe },
  { "dry_run", request_dry_run },
  { "has_token", request_has_token },
  { "inherited", request_inherited },
  { NULL, NULL },
};
