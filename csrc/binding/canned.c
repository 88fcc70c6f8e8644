/* canned: see canned.h. */
#include "canned.h"

#include "../http/replay.h"
#include "../os/process.h"
#include "error.h"
#include "invalid.h"
#include "names.h"
#include "pending.h"
#include "perform.h"
#include "result.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* How much time a fault lets pass. */
enum { NOTHING, CONNECT_TIMEOUT, DEADLINE };

/* What a real attempt leaves behind after these faults. Those that a server's bytes show, such as a
   connection closed without an answer, are among what is received. */
static const struct {
  const char *name;
  int passes;
  crux_replay replay;
} faults[] = {
  { "dns", NOTHING, { .code = CURLE_COULDNT_RESOLVE_HOST } },
  { "connect", NOTHING,
    { .code = CURLE_COULDNT_CONNECT, .os_error = ECONNREFUSED, .direct = true } },
  { "proxy", NOTHING, { .code = CURLE_RECV_ERROR, .proxy_status = 502 } },
  { "tls", NOTHING, { .code = CURLE_PEER_FAILED_VERIFICATION } },
  { "timeout", CONNECT_TIMEOUT, { .code = CURLE_OPERATION_TIMEDOUT } },
  { "network", NOTHING, { .code = CURLE_GOT_NOTHING, .connected = true } },
  { "memory", NOTHING, { .cause = CRUX_CAUSE_NOMEM } },
  { "timeout_sent", DEADLINE,
    { .code = CURLE_OPERATION_TIMEDOUT, .connected = true, .sent = true } },
  { NULL, NOTHING, { .sent = false } },
};

/* --- what an attempt comes to --- */

typedef struct {
  crux_replay replay;
  double seconds; /* that it takes */
} canned;

/* The fault at an index. `left`: the seconds until the call's deadline. */
static void read_fault(lua_State *L, int index, const crux_settings *s, double left, canned *c) {
  const char *name = luaL_checkstring(L, index);
  int i = 0;
  while (faults[i].name && strcmp(faults[i].name, name) != 0) i++;
  luaL_argcheck(L, faults[i].name, index, "not a fault");
  c->replay = faults[i].replay;
  if (faults[i].passes == DEADLINE) c->seconds = left;
  if (faults[i].passes == CONNECT_TIMEOUT)
    c->seconds = s->connect_timeout < left ? s->connect_timeout : left;
  if (c->replay.proxy_status && !(s->tls && s->proxy && s->proxy[0]))
    luaL_error(L, "expected a call through a proxy, for the fault 'proxy', found one without");
}

/* What is received is at an index, the fault at the next one. */
static void read_canned(lua_State *L, int index, const crux_request *request, double left,
                        canned *c) {
  memset(c, 0, sizeof *c);
  if (left <= 0) c->replay.cause = CRUX_CAUSE_EXPIRED;
  else if (lua_isnoneornil(L, index))
    read_fault(L, index + 1, &request->config->settings, left, c);
  else {
    c->replay.sent = c->replay.connected = true;
    c->replay.received = luaL_checklstring(L, index, &c->replay.received_len);
  }
}

/* An attempt that lacks only its verdict. NULL without memory. */
static crux_transfer *make(const crux_request_handle *handle, const char *token, double left,
                           const canned *c) {
  crux_transfer *t = crux_transfer_new(handle->request, token, handle->headers, crux_now() + left,
                                       handle->request->config->settings.connect_timeout);
  if (t) crux_replay_start(t, &c->replay, c->seconds);
  return t;
}

/* --- attempts --- */

int crux_perform_canned(lua_State *L) {
  const crux_request *request = crux_check_request(L, 1);
  crux_request_handle *handle = crux_check_handle(L, 1);
  const char *token = luaL_optstring(L, 2, NULL);
  double left = luaL_checknumber(L, 3);
  canned c;
  int count;
  read_canned(L, 4, request, left, &c);
  crux_drop_attempt(handle);
  if (handle->generation != crux_process_generation())
    return crux_fail(L, CRUX_KIND_ABORTED, CRUX_INHERITED);
  if (!crux_choose_token(handle, &token)) return crux_fail(L, CRUX_KIND_AUTH, CRUX_NO_TOKEN);
  handle->blocking.attempt = make(handle, token, left, &c);
  if (!handle->blocking.attempt) return crux_fail(L, CRUX_KIND_MEMORY, "out of memory");
  crux_replay_end(handle->blocking.attempt);
  atomic_store(&handle->blocking.attempt->done, true);
  count = crux_push_reply(L, handle->endpoint, handle->blocking.attempt);
  crux_drop_attempt(handle);
  return count;
}

static void deliver(crux_inbox *inbox, crux_transfer *t) {
  crux_replay_end(t);
  crux_inbox_deliver(inbox, crux_transfer_retain(t));
}

int crux_start_canned(lua_State *L) {
  const crux_request *request = crux_check_request(L, 1);
  crux_request_handle *handle = crux_check_handle(L, 1);
  const char *token = luaL_optstring(L, 2, NULL);
  double left = luaL_checknumber(L, 3), number = luaL_checknumber(L, 4);
  crux_inbox *inbox;
  canned c;
  read_canned(L, 5, request, left, &c);
  /* as in request:start, Lua allocates nothing from here on */
  inbox = crux_open_inbox(handle);
  if (!inbox) return 0;
  if (!crux_choose_token(handle, &token))
    return crux_refuse_start(L, CRUX_KIND_AUTH, CRUX_NO_TOKEN);
  handle->pending.attempt = make(handle, token, left, &c);
  if (!handle->pending.attempt) return crux_refuse_start(L, CRUX_KIND_MEMORY, "out of memory");
  handle->pending.attempt->inbox.number = number;
  lua_pushboolean(L, 1);
  if (c.seconds > 0) {
    lua_pushnumber(L, c.seconds);
    return 2;
  }
  deliver(inbox, handle->pending.attempt);
  return 1;
}

/* The attempt that is to be delivered; NULL: there is none. */
static crux_transfer *undelivered(const crux_request_handle *handle) {
  crux_transfer *t = handle->pending.attempt;
  return t && !atomic_load(&t->done) ? t : NULL;
}

int crux_deliver_canned(lua_State *L) {
  crux_request_handle *handle = crux_check_handle(L, 1);
  crux_transfer *t = undelivered(handle);
  crux_inbox *inbox = crux_open_inbox(handle);
  if (inbox && t) deliver(inbox, t);
  return 0;
}

int crux_awaits_delivery(lua_State *L) {
  lua_pushboolean(L, undelivered(crux_check_handle(L, 1)) != NULL);
  return 1;
}

/* --- wrong answers --- */

int crux_unknown_field(lua_State *L) {
  enum { MOST = 16 };
  crux_field rows[MOST + 1];
  crux_invalid invalid;
  int i, count;
  snprintf(invalid.path, sizeof invalid.path, "%s", luaL_checkstring(L, 1));
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  count = (int)crux_rawlen(L, 3);
  luaL_argcheck(L, count <= MOST, 3, "too many names");
  memset(rows, 0, sizeof rows);
  for (i = 0; i < count; i++) {
    lua_rawgeti(L, 3, i + 1); /* stays on the stack, which holds the string */
    rows[i].name = luaL_checkstring(L, -1);
  }
  memset(&invalid.lists, 0, sizeof invalid.lists);
  invalid.problem = CRUX_UNKNOWN_FIELD;
  invalid.lists[0].fields = rows;
  invalid.value = 2;
  invalid.field = NULL;
  invalid.nearest = NULL;
  if (lua_type(L, 2) == LUA_TSTRING)
    invalid.nearest = crux_nearest_name(invalid.lists, lua_tostring(L, 2));
  crux_push_invalid(L, &invalid, NULL);
  return 1;
}
