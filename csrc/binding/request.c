/* request: see request.h. */
#define _GNU_SOURCE /* memmem */
#include "request.h"

#include "../http/buffer.h"
#include "../os/process.h"
#include "arguments.h"
#include "error.h"
#include "explain.h"
#include "invalid.h"
#include "json.h"
#include "options.h"
#include "secrets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CRUX_UUID_LEN 36

crux_request_handle *crux_check_handle(lua_State *L, int index) {
  return crux_check(L, index, CRUX_CLASS_REQUEST);
}

crux_request *crux_check_request(lua_State *L, int index) {
  crux_request *request = crux_check_handle(L, index)->request;
  if (!request) luaL_error(L, "the request has ended");
  return request;
}

crux_request_handle *crux_push_request(lua_State *L) {
  crux_request_handle *handle = crux_new_object(L, sizeof *handle, CRUX_CLASS_REQUEST);
  handle->generation = crux_process_generation();
  return handle;
}

static void drop_headers(crux_request_handle *handle) {
  if (!handle->headers) return;
  crux_wipe(handle->headers, strlen(handle->headers)); /* values may be secrets */
  free(handle->headers);
  handle->headers = NULL;
}

void crux_release_request(crux_request_handle *handle) {
  drop_headers(handle);
  crux_request_release(handle->request);
  crux_config_release(handle->config);
  handle->request = NULL;
  handle->config = NULL;
}

int crux_prepare(lua_State *L, crux_request_handle *handle, const crux_endpoint *endpoint,
                 int index, crux_config *client, const crux_field_list *options) {
  int top = lua_gettop(L);
  crux_arguments arguments;
  crux_invalid invalid;
  bool is_valid;
  if (crux_json_is_gone(L))
    return crux_fail(L, CRUX_KIND_ABORTED, "the Lua state is being closed");
  is_valid = crux_read_arguments(L, index, endpoint, options, client, &arguments, &invalid);
  handle->config = arguments.config;
  handle->endpoint = endpoint;
  handle->safe = endpoint->safe;
  if (is_valid)
    handle->request = crux_request_new(handle->config, endpoint->method, arguments.target,
                                       endpoint->safe, arguments.body, arguments.body_len);
  crux_wipe_body(L);
  if (!is_valid) return crux_fail_invalid(L, &invalid, arguments.token);
  if (!handle->request) return crux_fail(L, CRUX_KIND_MEMORY, "out of memory");
  lua_settop(L, top);
  return 0;
}

bool crux_choose_token(const crux_request_handle *handle, const char **token) {
  if (!handle->endpoint->authenticated) *token = NULL;
  else if (!*token) *token = handle->request->config->settings.token;
  return *token || !handle->endpoint->authenticated;
}

/* request:describe() → method, url, whether it is safe */
static int request_describe(lua_State *L) {
  const crux_request *r = crux_check_request(L, 1);
  lua_pushstring(L, r->method);
  lua_pushstring(L, r->url);
  lua_pushboolean(L, r->safe);
  return 3;
}

/* The value of a field of the endpoint, which is a UUID: in the path, or else in the body, whose
   JSON has no blanks and escapes each quotation mark of a value. NULL: there is none. */
static const char *find_uuid(const crux_request_handle *handle, const char *name) {
  const crux_request *r = handle->request;
  const crux_settings *s = &r->config->settings;
  const char *path = handle->endpoint->path, *brace, *value;
  size_t at = strlen(s->origin) + strlen(s->prefix) + strlen(s->api_prefix), len = strlen(name);
  char key[64];
  for (; (brace = strchr(path, '{')); path = strchr(brace, '}') + 1, at += CRUX_UUID_LEN) {
    at += (size_t)(brace - path);
    if (strncmp(brace + 1, name, len) == 0 && brace[1 + len] == '}') return r->url + at;
  }
  if (!r->body) return NULL;
  snprintf(key, sizeof key, "\"%s\":\"", name);
  value = memmem(r->body, r->body_len, key, strlen(key));
  return value ? value + strlen(key) : NULL;
}

static void push_uuid(lua_State *L, const char *name) {
  const char *value = find_uuid(crux_check_handle(L, 1), name);
  if (value) lua_pushlstring(L, value, CRUX_UUID_LEN);
  else lua_pushnil(L);
}

/* request:subject() → the endpoint's name, order_uuid and order_item_uuid, nil where it has none */
static int request_subject(lua_State *L) {
  crux_check_request(L, 1);
  lua_pushstring(L, crux_check_handle(L, 1)->endpoint->name);
  push_uuid(L, "order_uuid");
  push_uuid(L, "order_item_uuid");
  return 3;
}

/* request:takes_token() → whether the endpoint takes one */
static int request_takes_token(lua_State *L) {
  lua_pushboolean(L, crux_check_handle(L, 1)->endpoint->authenticated);
  return 1;
}

/* request:service() → base URL and generation of the API */
static int request_service(lua_State *L) {
  const crux_settings *s = &crux_check_request(L, 1)->config->settings;
  const crux_generation *generation = crux_generations;
  while (strcmp(generation->prefix, s->api_prefix) != 0) generation++;
  lua_pushfstring(L, "%s%s", s->origin, s->prefix);
  lua_pushstring(L, generation->name);
  return 2;
}

/* request:sibling(name) → a request for the endpoint of that name, under the same options, which
   its arguments are taken from too; or nil, err */
static int request_sibling(lua_State *L) {
  const crux_request *r = crux_check_request(L, 1);
  const crux_endpoint *endpoint = crux_endpoint_find(luaL_checkstring(L, 2));
  crux_request_handle *sibling;
  luaL_argcheck(L, endpoint, 2, "expected the name of a call");
  lua_settop(L, 2);
  sibling = crux_push_request(L);
  lua_newtable(L);
  if (crux_prepare(L, sibling, endpoint, 4, r->config, &crux_lua_options) != 0) return 2;
  lua_settop(L, 3);
  return 1;
}

/* request:clean(text) → the text as it may stand in a log, without the token that the request has
   of its own; nil once the request is released */
static int request_clean(lua_State *L) {
  const crux_request_handle *handle = crux_check_handle(L, 1);
  const char *token = handle->config ? handle->config->settings.token : NULL;
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  if (!handle->config) lua_pushnil(L);
  else crux_sanitize(L, CRUX_MESSAGE_MAX, token, token ? strlen(token) : 0);
  return 1;
}

/* request:unknown_hint() → what to do after an unknown outcome */
static int request_unknown_hint(lua_State *L) {
  crux_push_unknown_hint(L, crux_check_handle(L, 1)->endpoint);
  return 1;
}

/* request:inherited() → whether this is a forked child, and the request its parent's */
static int request_inherited(lua_State *L) {
  lua_pushboolean(L, crux_check_handle(L, 1)->generation != crux_process_generation());
  return 1;
}

/* request:has_token() → whether it can be sent with the token that it has, or needs none; false
   once it is released */
static int request_has_token(lua_State *L) {
  const crux_request_handle *handle = crux_check_handle(L, 1);
  const char *token = NULL;
  lua_pushboolean(L, handle->request && crux_choose_token(handle, &token));
  return 1;
}

/* request:set_headers(beneath, above, token or nil) → true | nil, err: sets further field lines of
   the next attempt. `beneath` and `above` are what the functions of the client and of the call have
   returned. The first gives way to the request's own lines, and these give way to the second. The
   token is not shown in the error. */
static int request_set_headers(lua_State *L) {
  crux_request_handle *handle = crux_check_handle(L, 1);
  const crux_settings *own = &crux_check_request(L, 1)->config->settings;
  const char *token = luaL_optstring(L, 4, own->token ? own->token : "");
  crux_header_lines lines;
  crux_invalid invalid;
  bool is_valid;
  int count;
  lua_settop(L, 4);
  is_valid = crux_merge_headers(L, 3, own->headers, 2, &lines, &invalid);
  drop_headers(handle);
  if (is_valid) handle->headers = strdup(lines.text);
  crux_header_lines_wipe(&lines);
  if (is_valid && !handle->headers) return crux_fail(L, CRUX_KIND_MEMORY, "out of memory");
  lua_pushboolean(L, 1);
  if (is_valid) return 1;
  /* copied, since a finalizer may release the request meanwhile; a token is no longer than lines */
  lines.len = (size_t)snprintf(lines.text, sizeof lines.text, "%s", token);
  count = crux_fail_invalid(L, &invalid, lines.text);
  crux_header_lines_wipe(&lines);
  return count;
}

/* Adds field lines to the table on top, by their names on the wire. */
static void add_field_lines(lua_State *L, const char *line, const char *end, bool shown) {
  const char *colon, *next;
  for (; line < end; line = next + 2) {
    next = strstr(line, "\r\n");
    colon = strchr(line, ':');
    lua_pushlstring(L, line, (size_t)(colon - line));
    if (shown) lua_pushlstring(L, colon + 2, (size_t)(next - colon - 2));
    else lua_pushliteral(L, "[redacted]");
    lua_rawset(L, -3);
  }
}

/* request:dry_run() → { method, url, headers, body }. The Content-Length is that of the body as it
   is shown: the length of a secret is not told. After set_headers it has the field lines of the
   attempt. */
static int request_dry_run(lua_State *L) {
  const crux_request *r = crux_check_request(L, 1);
  const crux_request_handle *handle = crux_check_handle(L, 1);
  const crux_endpoint *endpoint = handle->endpoint;
  const char *headers = handle->headers ? handle->headers : r->config->settings.headers;
  int dry;
  lua_createtable(L, 0, 4);
  dry = lua_gettop(L);
  crux_set_text(L, CRUX_KEY_method, r->method);
  crux_set_text(L, CRUX_KEY_url, r->url);
  lua_createtable(L, 0, 8);
  add_field_lines(L, strstr(r->head, "\r\n") + 2, r->head + r->head_len, true);
  if (headers) add_field_lines(L, headers, headers + strlen(headers), false);
  if (endpoint->authenticated) {
    lua_pushliteral(L, "Token [redacted]");
    lua_setfield(L, -2, "Authorization");
  }
  if (r->body) {
    crux_push_redacted_body(L, endpoint, r);
    lua_pushfstring(L, "%d", (int)crux_rawlen(L, -1));
    lua_setfield(L, -3, "Content-Length");
    crux_setkey(L, dry, CRUX_KEY_body);
  }
  crux_setkey(L, dry, CRUX_KEY_headers);
  return 1;
}

const luaL_Reg crux_request_methods[] = {
  { "clean", request_clean },
  { "describe", request_describe },
  { "dry_run", request_dry_run },
  { "has_token", request_has_token },
  { "inherited", request_inherited },
  { "service", request_service },
  { "set_headers", request_set_headers },
  { "sibling", request_sibling },
  { "subject", request_subject },
  { "takes_token", request_takes_token },
  { "unknown_hint", request_unknown_hint },
  { NULL, NULL },
};
