/* crux: the functions of the module crux.core, and what is registered when it is loaded. Each call
   of an endpoint's function makes one attempt; the Lua layer decides when to make another. */
#include "http/libcurl.h"
#include "os/process.h"
#include "binding/arguments.h"
#include "binding/canned.h"
#include "binding/client.h"
#include "binding/error.h"
#include "binding/headers.h"
#include "binding/invalid.h"
#include "binding/json.h"
#include "binding/options.h"
#include "binding/pending.h"
#include "binding/perform.h"
#include "binding/request.h"
#include "binding/values.h"

#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__GNUC__)
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif

/* --- attempts --- */

/***
Makes exactly one attempt at a call, blocking until there is an answer or the deadline has passed.
Every endpoint has such a function, by its name.
@function cancel_order
@tparam table arguments the endpoint's fields and any options of `crux.new` but `retries` and
  `on_event`; `token` is a string; the environment is not read
@treturn[1] table result
@treturn[2] nil
@treturn[2] table err
@raise if the argument is not a table
*/
static int attempt(lua_State *L) {
  const crux_endpoint *endpoint = lua_touserdata(L, lua_upvalueindex(2));
  crux_request_handle *handle;
  int count;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  handle = crux_take_reusable_request(L);
  count = crux_prepare(L, handle, endpoint, 1, NULL, &crux_core_options);
  if (count == 0)
    count = crux_perform(L, handle, NULL, crux_now() + handle->config->settings.timeout);
  crux_put_reusable_request(L, handle, 2);
  return count;
}

/* core.perform(request, token or nil, deadline) → result | nil, err */
static int perform(lua_State *L) {
  crux_check_request(L, 1);
  return crux_perform(L, crux_check_handle(L, 1), luaL_optstring(L, 2, NULL),
                      luaL_checknumber(L, 3));
}

/* core.release(request): it will not be used any more */
static int release(lua_State *L) {
  crux_request_handle *handle = crux_check_handle(L, 1);
  crux_drop_attempt(handle);
  crux_release_request(handle);
  return 0;
}

/* core.failure(kind, message) → an error for something that was not sent */
static int failure(lua_State *L) {
  crux_kind kind = crux_kind_named(luaL_checkstring(L, 1));
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  luaL_argcheck(L, kind != CRUX_KIND_NONE, 1, "not a kind");
  crux_sanitize(L, CRUX_SERVER_MESSAGE_MAX, NULL, 0);
  crux_push_failure(L, kind, NULL);
  return 1;
}

/* core.redact(text, token) → the text without the token */
static int redact(lua_State *L) {
  luaL_checkstring(L, 1);
  lua_pushvalue(L, 1);
  crux_redact(L, luaL_checkstring(L, 2));
  return 1;
}

/* core.check_batch(options) → nothing, or an error that says what is wrong with the options of a
   batch */
static int check_batch(lua_State *L) {
  static const crux_field_list lists[] = { { crux_batch_options, 0 }, { NULL, 0 } };
  crux_snapshot s;
  crux_invalid invalid;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  crux_snapshot_take(L, 1, lists, &s);
  if (crux_schema_check(L, &s, NULL, NULL, &invalid)) return 0;
  crux_push_invalid(L, &invalid, NULL);
  return 1;
}

/* --- what the Lua layer needs of the machine --- */

/* core.time() → seconds since 1970: for times that other processes see */
static int wall_time(lua_State *L) {
  lua_pushnumber(L, (double)time(NULL));
  return 1;
}

/* core.now() → monotonic seconds */
static int now(lua_State *L) {
  lua_pushnumber(L, crux_now());
  return 1;
}

/* core.random() → a number from 0 up to 1: for jitter, without moving the host's math.random */
static int random_fraction(lua_State *L) {
  static atomic_ullong count;
  uint64_t x = (uint64_t)(crux_now() * 1e9) ^ (uint64_t)getpid() << 40 ^ (uint64_t)(uintptr_t)L;
  x += (atomic_fetch_add(&count, 1) + 1) * UINT64_C(0x9E3779B97F4A7C15);
  x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
  x ^= x >> 31;
  lua_pushnumber(L, (double)(x >> 11) / 9007199254740992.0);
  return 1;
}

/***
The versions of libcurl and what it was built with, as it tells them at run time.
@function curl_version
@treturn string
*/
static int libcurl_version(lua_State *L) {
  lua_pushstring(L, curl_version());
  return 1;
}

/* core.assume_curl(number): treats libcurl as that version, so that specs reach the branches for
   others; 0 ends it. */
static int assume_curl(lua_State *L) {
  crux_libcurl_assume((unsigned)luaL_checknumber(L, 1));
  return 0;
}

/* core.is_token(value) → whether it can stand in a header; whether it ends in a newline */
static int is_token(lua_State *L) {
  size_t len;
  const char *s = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;
  lua_pushboolean(L, s && strlen(s) == len && crux_is_token(s));
  lua_pushboolean(L, s && crux_ends_line(s));
  return 2;
}

/* Adds the functions to the module, on top. */
static void add_functions(lua_State *L, int state) {
  static const luaL_Reg functions[] = {
    { "client", crux_client_new },
    { "inbox", crux_new_inbox },
    { "perform", perform },
    { "perform_canned", crux_perform_canned },
    { "start_canned", crux_start_canned },
    { "deliver_canned", crux_deliver_canned },
    { "awaits_delivery", crux_awaits_delivery },
    { "unknown_field", crux_unknown_field },
    { "release", release },
    { "sleep", crux_sleep },
    { "failure", failure },
    { "redact", redact },
    { "is_token", is_token },
    { "check_batch", check_batch },
    { "now", now },
    { "time", wall_time },
    { "random", random_fraction },
    { "curl_version", libcurl_version },
    { "assume_curl", assume_curl },
    { NULL, NULL },
  };
  lua_pushvalue(L, state);
  crux_setfuncs(L, functions, 1);
}

/* Adds a function for each endpoint, and their names in the order of the table. */
static void add_endpoints(lua_State *L, int state) {
  int module = lua_gettop(L), i;
  lua_newtable(L);
  for (i = 0; crux_endpoints[i].name; i++) {
    const crux_field_list lists[] = {
      { crux_endpoints[i].fields, 0 }, crux_lua_options, { NULL, 0 },
    };
    if (!crux_schema_fits(lists))
      luaL_error(L, "%s has more than %d fields and options", crux_endpoints[i].name,
                 CRUX_ROWS_MAX);
    lua_pushvalue(L, state);
    lua_pushlightuserdata(L, (void *)&crux_endpoints[i]);
    lua_pushcclosure(L, attempt, 2);
    lua_setfield(L, module, crux_endpoints[i].name);
    lua_pushstring(L, crux_endpoints[i].name);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, module, "endpoints");
}

static void add_constants(lua_State *L, int state) {
  static const struct {
    const char *name, *value;
  } texts[] = {
    { "_VERSION", CRUX_VERSION },
    { "SANDBOX", CRUX_SANDBOX },
    { "PRODUCTION", CRUX_PRODUCTION },
    { "INHERITED", CRUX_INHERITED },
    { "NO_TOKEN", CRUX_NO_TOKEN },
  };
  size_t i;
  for (i = 0; i < sizeof texts / sizeof *texts; i++) {
    lua_pushstring(L, texts[i].value);
    lua_setfield(L, -2, texts[i].name);
  }
  lua_rawgeti(L, state, CRUX_SLOT_NULL);
  lua_setfield(L, -2, "null");
}

EXPORT int luaopen_crux_core(lua_State *L);

EXPORT int luaopen_crux_core(lua_State *L) {
  int state;
  crux_checkversion(L, "crux.core");
  if (!crux_libcurl_init()) return luaL_error(L, "libcurl could not be initialized");
  lua_createtable(L, CRUX_SLOTS, 0);
  state = lua_gettop(L);
  crux_state_setup(L);
  crux_json_setup(L);
  crux_headers_setup(L);
  crux_arguments_setup(L);
  crux_failure_setup(L);
  crux_perform_setup(L);
  lua_pushvalue(L, state);
  crux_client_setup(L);
  crux_pending_setup(L);
  lua_newtable(L);
  add_functions(L, state);
  add_endpoints(L, state);
  add_constants(L, state);
  return 1;
}
