/* Lets a spec take the turns of one attempt on a connection that never waits, in place of
   csrc/http/connection.c. Compiled by the spec with the rest of what it needs of csrc. */
#include "../../csrc/http/transfer.h"
#include "../../csrc/os/process.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

enum { BUFFER = 16384 };

static size_t sends_left; /* how often sending works before the connection breaks */
static size_t to_receive; /* bytes of the response that are there to be received */
static size_t received;   /* since the last turn began */
static const char *head;  /* of the response; its body is zeros */

crux_io crux_connection_send(crux_connection *c, const char *data, size_t len, size_t *sent) {
  (void)data;
  *sent = 0;
  if (sends_left == 0) {
    c->code = CURLE_SEND_ERROR;
    return CRUX_IO_ERROR;
  }
  sends_left--;
  *sent = len;
  return CRUX_IO_OK;
}

/* Before sending has failed there is nothing. */
crux_io crux_connection_receive(crux_connection *c, char *data, size_t size, size_t *got) {
  size_t len = strlen(head);
  *got = 0;
  if (c->code == CURLE_OK || to_receive == 0) return CRUX_IO_AGAIN;
  *got = to_receive < size ? to_receive : size;
  memset(data, '0', *got);
  memcpy(data, head, len);
  head += len;
  to_receive -= *got;
  received += *got;
  return CRUX_IO_OK;
}

bool crux_connection_is_readable(const crux_connection *c) {
  (void)c;
  return true;
}

long long crux_connection_unacknowledged(const crux_connection *c) {
  (void)c;
  return 0;
}

static crux_transfer *new_transfer(size_t body_len) {
  static char body[1 << 20];
  crux_settings s = { .origin = "http://127.0.0.1:1", .prefix = "", .api_prefix = "",
    .max_body = 1 << 24 };
  crux_config *config = crux_config_new(&s, "turns", 0);
  crux_request *request = crux_request_new(config, "PATCH", "/", false, body, body_len);
  crux_transfer *t = crux_transfer_new(request, "token", NULL, crux_now() + 60, 60);
  crux_request_release(request);
  crux_config_release(config);
  return t;
}

/* turns(sends, head, size) → how many bytes were received in each turn; whether the attempt is done;
   its status, the length of its body, and whether the connection could be reused. Sending works so
   many times and then fails; a response of so many bytes is there to be received. */
static int turns(lua_State *L) {
  static char buffer[BUFFER];
  crux_connection c;
  crux_transfer *t = new_transfer(1 << 20);
  crux_step step = CRUX_STEP_READY;
  int count = 0;
  memset(&c, 0, sizeof c);
  sends_left = (size_t)luaL_checknumber(L, 1);
  head = luaL_checkstring(L, 2);
  to_receive = (size_t)luaL_checknumber(L, 3);
  t->exchange.connection = &c;
  lua_newtable(L);
  while (step == CRUX_STEP_READY) {
    received = 0;
    step = crux_transfer_advance(t, false, buffer, sizeof buffer);
    lua_pushnumber(L, (lua_Number)received);
    lua_rawseti(L, -2, ++count);
  }
  lua_pushboolean(L, step == CRUX_STEP_DONE);
  lua_pushinteger(L, t->reply.response.status);
  lua_pushinteger(L, (lua_Integer)t->reply.response.body.len);
  lua_pushboolean(L, crux_transfer_can_reuse(t));
  crux_transfer_release(t);
  return 5;
}

int luaopen_turns(lua_State *L);

int luaopen_turns(lua_State *L) {
  lua_pushcfunction(L, turns);
  return 1;
}
