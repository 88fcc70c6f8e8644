/* meta: the account of what was sent, and of how long it took. */
#include "meta.h"

void crux_push_meta(lua_State *L, const crux_transfer *t) {
  static const crux_reply none;
  const crux_reply *r = t ? &t->reply : &none;
  lua_createtable(L, 0, 8);
  crux_set_integer(L, CRUX_KEY_attempts, t ? 1 : 0);
  crux_set_integer(L, CRUX_KEY_sends, (lua_Integer)r->sends);
  crux_set_integer(L, CRUX_KEY_bytes_sent, (lua_Integer)r->bytes_sent);
  crux_set_boolean(L, CRUX_KEY_reused, r->reused);
  /* without a response: the version of the request */
  crux_set_text(L, CRUX_KEY_http_version, r->response.version[0] ? r->response.version : "1.1");
  crux_pushslot(L, CRUX_KEY_time);
  lua_createtable(L, 0, 5);
  crux_set_number(L, CRUX_KEY_dns, r->time.dns);
  crux_set_number(L, CRUX_KEY_connect, r->time.connect);
  crux_set_number(L, CRUX_KEY_tls, r->time.tls);
  crux_set_number(L, CRUX_KEY_first_byte, r->time.first_byte);
  crux_set_number(L, CRUX_KEY_total, r->time.total);
  lua_rawset(L, -3);
}
