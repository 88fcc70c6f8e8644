/* result: from a finished attempt to what a call returns: result | nil, err. */
#include "result.h"

#include "explain.h"
#include "field_errors.h"
#include "headers.h"
#include "json.h"
#include "meta.h"

#include <time.h>

/* --- the response --- */

/* Pushes what is wrong with the body as it arrived and returns true; or pushes nothing. */
static bool push_body_error(lua_State *L, const crux_transfer *t) {
  const crux_response *r = &t->reply.response;
  int len = (int)r->body.len;
  crux_body_end end = r->state == CRUX_RESPONSE_COMPLETE ? r->body_end : CRUX_BODY_CUT;
  switch (end) {
    case CRUX_BODY_CUT:
      lua_pushfstring(L, "cut off after %d bytes: %s", len, curl_easy_strerror(t->reply.code));
      return true;
    case CRUX_BODY_BROKEN:
      lua_pushfstring(L, "cut off after %d bytes: malformed chunk", len);
      return true;
    case CRUX_BODY_CODED:
      lua_pushliteral(L, "a transfer coding that is not decoded");
      return true;
    case CRUX_BODY_LIMIT:
      lua_pushfstring(L, "longer than max_body, %d bytes", (int)r->max_body);
      return true;
    case CRUX_BODY_NOMEM:
      lua_pushfstring(L, "out of memory after %d bytes", len);
      return true;
    default: return false;
  }
}

/* With the bytes of a whole body on top: sets `body` of the table at `table`, or pushes why there
   is none and returns true. The bytes stay. */
static bool set_body(lua_State *L, int table) {
  if (crux_json_decode(L, lua_gettop(L))) {
    crux_setkey(L, table, CRUX_KEY_body);
    return false;
  }
  lua_pushfstring(L, "not JSON: %s", lua_tostring(L, -1));
  return true;
}

/* With a result or an error on top: sets its `headers`, `raw`, `body` and `meta`. True: the body
   arrived whole. */
static bool set_response(lua_State *L, const crux_transfer *t) {
  const crux_response *r = &t->reply.response;
  int table = lua_gettop(L), meta = table + 1;
  bool whole = false;
  crux_push_meta(L, t);
  crux_pushslot(L, CRUX_KEY_meta);
  lua_pushvalue(L, meta);
  lua_rawset(L, table);
  if (r->status) {
    crux_pushslot(L, CRUX_KEY_headers);
    crux_push_headers(L, r);
    lua_rawset(L, table);
    lua_pushlstring(L, r->body.len ? r->body.data : "", r->body.len);
    crux_pushslot(L, CRUX_KEY_raw);
    lua_pushvalue(L, -2);
    lua_rawset(L, table);
    whole = !push_body_error(L, t);
    if (!whole || (r->body.len > 0 && set_body(L, table)))
      crux_setkey(L, meta, CRUX_KEY_body_error);
  }
  lua_settop(L, table);
  return whole;
}

/* The seconds that the server asks for, or -1. A date is measured by the server's own clock, if
   the response has its time. */
static double retry_after(const crux_response *r) {
  const char *value = crux_header(r, "retry-after"), *date;
  time_t now;
  if (!value) return -1;
  date = crux_header(r, "date");
  now = date ? curl_getdate(date, NULL) : (time_t)-1;
  return crux_retry_after(value, now != (time_t)-1 ? now : time(NULL));
}

/* --- both --- */

static int push_result(lua_State *L, const crux_transfer *t) {
  lua_createtable(L, 0, 6);
  crux_set_text(L, CRUX_KEY_outcome, crux_outcome_name(CRUX_ACCEPTED));
  crux_set_integer(L, CRUX_KEY_status, t->reply.response.status);
  set_response(L, t);
  return 1;
}

static int push_error(lua_State *L, const crux_endpoint *endpoint, const crux_transfer *t) {
  const crux_reply *r = &t->reply;
  double after = r->response.status ? retry_after(&r->response) : -1;
  bool whole;
  lua_pushnil(L);
  lua_createtable(L, 0, 12);
  crux_set_text(L, CRUX_KEY_outcome, crux_outcome_name(r->verdict.outcome));
  crux_set_text(L, CRUX_KEY_kind, crux_kind_name(r->verdict.kind));
  if (r->response.status) crux_set_integer(L, CRUX_KEY_status, r->response.status);
  whole = set_response(L, t);
  if (r->response.status)
    crux_set_field_errors(L, whole, crux_header(&r->response, "content-type"));
  if (after >= 0) crux_set_number(L, CRUX_KEY_retry_after, after);
  crux_set_boolean(L, CRUX_KEY_retryable,
                   crux_retryable(r->verdict, r->response.status, after >= 0, endpoint->safe));
  crux_set_message(L, endpoint, t);
  crux_set_hint(L, endpoint, t);
  crux_set_class(L, CRUX_CLASS_ERROR);
  return 2;
}

int crux_push_reply(lua_State *L, const crux_endpoint *endpoint, const crux_transfer *t) {
  return t->reply.verdict.outcome == CRUX_ACCEPTED ? push_result(L, t) : push_error(L, endpoint, t);
}
