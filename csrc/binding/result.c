/* result: from a finished attempt to what a call returns: result | nil, err. */
#include "result.h"

#include "error.h"
#include "field_errors.h"
#include "json.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* What the service documents of its statuses, and what to do about each. */
static const struct {
  int status;
  const char *name, *hint;
} statuses[] = {
  { 301, "Moved Permanently", "redirects are not followed: is base_url the service's own?" },
  { 307, "Temporary Redirect", "redirects are not followed: is base_url the service's own?" },
  { 308, "Permanent Redirect", "redirects are not followed: is base_url the service's own?" },
  { 400, "Bad Request", "something required is missing or malformed" },
  { 401, "Unauthorized", "the token is wrong or has expired: tokens expire two hours after they were issued, log in again" },
  { 403, "Permission Denied", "the token's user lacks the permission (cancel_order, for cancelling)" },
  { 404, "Not Found", "no such URL, or no such order: check base_url, api and order_uuid" },
  { 405, "Method Not Allowed", "the URL does not take this method: is base_url the service's own, with no path too many?" },
  { 409, "Critical", "the token belongs to an organization of the wrong kind: cancelling is for retailers" },
  { 415, "Unsupported Media Type", "the Content-Type did not arrive as application/json: does a proxy change it?" },
  { 422, "Unprocessable Entity",
    "the order is unknown, or cannot be cancelled any more: look at it with get_order" },
  { 429, "Too Many Requests", "wait before the next call" },
  { 500, "Internal Server Error", NULL },
  { 502, "Bad Gateway", NULL },
  { 503, "Service Unavailable", NULL },
  { 504, "Gateway Timeout", NULL },
};

static const char *name_of(int status) {
  size_t i;
  for (i = 0; i < sizeof statuses / sizeof *statuses; i++) {
    if (statuses[i].status == status) return statuses[i].name;
  }
  return "";
}

static const char *hint_of(const crux_reply *r, bool safe) {
  size_t i;
  for (i = 0; i < sizeof statuses / sizeof *statuses; i++) {
    if (statuses[i].status == r->response.status && statuses[i].hint) return statuses[i].hint;
  }
  if (r->verdict.outcome == CRUX_UNKNOWN)
    return safe ? "nothing was changed: it may be tried again"
                : "it may have been carried out: look with get_order before sending it again";
  switch (r->verdict.kind) {
    case CRUX_KIND_DNS: return "check base_url and this machine's name resolution; nothing was sent";
    case CRUX_KIND_CONNECT: return "check base_url, and whether a firewall or proxy is in the way; nothing was sent";
    case CRUX_KIND_PROXY: return "check the proxy: the option `proxy`, or https_proxy in the environment; nothing was sent";
    case CRUX_KIND_TLS:
      return "the server could not prove who it is, or the handshake failed: check base_url, the clock, and ca_file";
    case CRUX_KIND_TIMEOUT: return "nothing was sent: it may be tried again";
    default: return NULL;
  }
}

/* --- pieces of both --- */

void crux_push_meta(lua_State *L, const crux_transfer *t) {
  const crux_reply *r = t ? &t->reply : NULL;
  lua_createtable(L, 0, 8);
  crux_set_integer(L, CRUX_KEY_attempts, r ? 1 : 0);
  crux_set_integer(L, CRUX_KEY_sends, r ? (lua_Integer)r->sends : 0);
  crux_set_integer(L, CRUX_KEY_bytes_sent, r ? (lua_Integer)r->bytes_sent : 0);
  crux_set_boolean(L, CRUX_KEY_reused, r && r->reused);
  /* the request's own, where no response says otherwise */
  crux_set_text(L, CRUX_KEY_http_version, r && r->response.version[0] ? r->response.version : "1.1");
  crux_pushslot(L, CRUX_KEY_time);
  lua_createtable(L, 0, 5);
  crux_set_number(L, CRUX_KEY_dns, r ? r->time.dns : 0);
  crux_set_number(L, CRUX_KEY_connect, r ? r->time.connect : 0);
  crux_set_number(L, CRUX_KEY_tls, r ? r->time.tls : 0);
  crux_set_number(L, CRUX_KEY_first_byte, r ? r->time.first_byte : 0);
  crux_set_number(L, CRUX_KEY_total, r ? r->time.total : 0);
  lua_rawset(L, -3);
}

/* With a name on top: pushes its value, joined to the one that the table may have: RFC 9110 5.3. */
static void push_joined(lua_State *L, int table, const char *value, size_t len) {
  lua_pushvalue(L, -1);
  lua_rawget(L, table);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushlstring(L, value, len);
    return;
  }
  lua_pushliteral(L, ", ");
  lua_pushlstring(L, value, len);
  lua_concat(L, 3);
}

/* One bit for a name: where it is not set among those seen, the name is new, and need not be
   looked up. */
static uint64_t bit_of(const char *name, size_t len) {
  return UINT64_C(1) << ((len + 5 * (unsigned char)name[0] + 3 * (unsigned char)name[len - 1]) & 63);
}

static void push_headers(lua_State *L, const crux_response *r) {
  const char *name = r->fields.data, *value;
  size_t name_len, value_len;
  uint64_t seen = 0, bit;
  unsigned i;
  int table;
  lua_createtable(L, 0, (int)r->field_count);
  table = lua_gettop(L);
  for (i = 0; i < r->field_count; i++, name = value + value_len + 1) {
    name_len = strlen(name);
    value = name + name_len + 1;
    value_len = strlen(value);
    bit = bit_of(name, name_len);
    lua_pushlstring(L, name, name_len);
    if (seen & bit) push_joined(L, table, value, value_len);
    else lua_pushlstring(L, value, value_len);
    seen |= bit;
    lua_rawset(L, table);
  }
}

/* Pushes what is wrong with the body as it came, or nil. */
static void push_body_error(lua_State *L, const crux_transfer *t) {
  const crux_response *r = &t->reply.response;
  int len = (int)r->body.len;
  if (r->state != CRUX_RESPONSE_COMPLETE) {
    lua_pushfstring(L, "cut off after %d bytes: %s", len, curl_easy_strerror(t->reply.code));
    return;
  }
  switch (r->body_end) {
    case CRUX_BODY_CUT:
      lua_pushfstring(L, "cut off after %d bytes: %s", len, curl_easy_strerror(t->reply.code));
      return;
    case CRUX_BODY_BROKEN: lua_pushfstring(L, "cut off after %d bytes: malformed chunk", len); return;
    case CRUX_BODY_CODED: lua_pushliteral(L, "a transfer coding that is not decoded"); return;
    case CRUX_BODY_LIMIT: lua_pushfstring(L, "longer than max_body, %d bytes", (int)r->max_body); return;
    case CRUX_BODY_NOMEM: lua_pushfstring(L, "out of memory after %d bytes", len); return;
    default: lua_pushnil(L); return;
  }
}

/* With the table on top: `raw`, `headers`, `body`, and in `meta`, which is set too, what is
   wrong with the body. True: it arrived whole. */
static bool set_response(lua_State *L, crux_transfer *t) {
  const crux_response *r = &t->reply.response;
  int table = lua_gettop(L);
  bool whole = false;
  crux_push_meta(L, t);
  if (r->status) {
    crux_pushslot(L, CRUX_KEY_headers);
    push_headers(L, r);
    lua_rawset(L, table);
    crux_pushslot(L, CRUX_KEY_raw);
    lua_pushlstring(L, r->body.len ? r->body.data : "", r->body.len);
    lua_rawset(L, table);
    push_body_error(L, t);
    whole = lua_isnil(L, -1);
    if (whole && r->body.len > 0) {
      crux_json_decode(L, r->body.data, r->body.len);
      if (lua_isnil(L, -2)) lua_pushfstring(L, "not JSON: %s", lua_tostring(L, -1));
      else {
        lua_pushvalue(L, -2);
        crux_setkey(L, table, CRUX_KEY_body);
      }
    }
    if (lua_isstring(L, -1)) crux_setkey(L, table + 1, CRUX_KEY_body_error);
    lua_settop(L, table + 1);
  }
  crux_setkey(L, table, CRUX_KEY_meta);
  return whole;
}

/* --- messages --- */

static void push_http_message(lua_State *L, const crux_transfer *t, int err) {
  const char *name = name_of(t->reply.response.status);
  lua_pushfstring(L, "HTTP %d%s%s", t->reply.response.status, name[0] ? " " : "", name);
  crux_getkey(L, err, CRUX_KEY_detail);
  if (lua_type(L, -1) != LUA_TSTRING || crux_rawlen(L, -1) == 0) {
    lua_pop(L, 1);
    if (!crux_push_first_field_error(L, err)) return;
  }
  /* the token, and not in words of ours, which a short one may be part of */
  crux_sanitize(L, CRUX_SERVER_MESSAGE_MAX, t->wire + t->token_at, t->token_len);
  lua_pushliteral(L, ": ");
  lua_insert(L, -2);
  lua_concat(L, 3);
}

/* The proxy as the user gave it, but for its user and password. */
static const char *proxy_host(const crux_settings *s) {
  const char *scheme = strstr(s->proxy, "://"), *host = scheme ? scheme + 3 : s->proxy;
  const char *at = strrchr(host, '@');
  return at ? at + 1 : host;
}

static void push_proxy_message(lua_State *L, const crux_transfer *t, const char *host) {
  const crux_reply *r = &t->reply;
  lua_pushfstring(L, "could not connect to %s through the proxy %s: ", host,
                  proxy_host(&t->request->config->settings));
  /* libcurl's own words may quote the proxy's URL, and with it a password */
  if (r->proxy_status) lua_pushfstring(L, "the proxy answered HTTP %d", r->proxy_status);
  else lua_pushstring(L, r->os_error && r->code == CURLE_COULDNT_CONNECT ? strerror(r->os_error)
                                                                         : curl_easy_strerror(r->code));
  lua_concat(L, 2);
}

static void push_timeout_message(lua_State *L, const crux_transfer *t, const char *host) {
  char milliseconds[32];
  snprintf(milliseconds, sizeof milliseconds, "%ld ms", (long)(t->reply.time.total * 1e3));
  if (t->reply.cause == CRUX_CAUSE_EXPIRED)
    lua_pushfstring(L, "queued for %s without a free connection", milliseconds);
  else if (!t->reply.connected) lua_pushfstring(L, "no connection to %s within %s", host, milliseconds);
  else lua_pushfstring(L, "no whole answer from %s within %s", host, milliseconds);
}

static void push_protocol_message(lua_State *L, const crux_transfer *t, const char *host) {
  switch (t->reply.cause) {
    case CRUX_CAUSE_UNSOLICITED: lua_pushfstring(L, "%s sent a response before the request", host); return;
    case CRUX_CAUSE_HEAD_CUT:
      lua_pushfstring(L, "expected a whole response head from %s, found one cut off", host);
      return;
    case CRUX_CAUSE_HEAD_LIMIT:
      lua_pushfstring(L, "expected a response head of at most %d bytes from %s, found a longer one",
                      CRUX_HEAD_MAX, host);
      return;
    default: lua_pushfstring(L, "expected an HTTP response from %s, found something else", host); return;
  }
}

static void push_tls_message(lua_State *L, const crux_transfer *t, const char *host) {
  const crux_reply *r = &t->reply;
  const char *why = r->error ? r->error : curl_easy_strerror(r->code);
  const char *ca_file = t->request->config->settings.ca_file;
  size_t len = strlen(why);
  /* GnuTLS ends its sentences */
  lua_pushlstring(L, why, len > 0 && why[len - 1] == '.' ? len - 1 : len);
  lua_pushfstring(L, r->connected ? "TLS with %s failed: %s" : "no TLS connection to %s: %s", host,
                  lua_tostring(L, -1));
  lua_remove(L, -2);
  if (r->code != CURLE_SSL_CACERT_BADFILE || !ca_file) return;
  lua_pushfstring(L, " (ca_file %s)", ca_file);
  lua_concat(L, 2);
}

static void push_network_message(lua_State *L, const crux_transfer *t, const char *host) {
  const crux_reply *r = &t->reply;
  if (r->sends == 0) lua_pushfstring(L, "%s closed the connection before the request was sent", host);
  else if (r->code == CURLE_GOT_NOTHING) lua_pushfstring(L, "%s closed the connection without an answer", host);
  else
    lua_pushfstring(L, "the connection to %s broke before a whole answer: %s", host,
                    curl_easy_strerror(r->code));
}

static void push_transport_message(lua_State *L, const crux_transfer *t) {
  const crux_reply *r = &t->reply;
  const char *host = t->request->config->host;
  switch (r->verdict.kind) {
    case CRUX_KIND_ABORTED:
      lua_pushstring(L, r->cause == CRUX_CAUSE_EXITING  ? "the process is exiting"
                        : r->cause == CRUX_CAUSE_FORKED ? CRUX_INHERITED
                                                        : "aborted by the caller");
      return;
    case CRUX_KIND_MEMORY:
      lua_pushstring(L, r->cause == CRUX_CAUSE_NOFILE ? "no file descriptor left for a connection" : "out of memory");
      return;
    case CRUX_KIND_DNS: lua_pushfstring(L, "could not resolve the host of %s", host); return;
    case CRUX_KIND_CONNECT:
      lua_pushfstring(L, "could not connect to %s%s%s", host, r->os_error ? ": " : "",
                      r->os_error ? strerror(r->os_error) : "");
      return;
    case CRUX_KIND_PROXY: push_proxy_message(L, t, host); return;
    case CRUX_KIND_TLS: push_tls_message(L, t, host); return;
    case CRUX_KIND_TIMEOUT: push_timeout_message(L, t, host); return;
    case CRUX_KIND_PROTOCOL: push_protocol_message(L, t, host); return;
    default: push_network_message(L, t, host); return;
  }
}

static void set_message(lua_State *L, crux_transfer *t) {
  int err = lua_gettop(L);
  if (t->reply.verdict.kind == CRUX_KIND_HTTP || t->reply.verdict.kind == CRUX_KIND_AUTH) push_http_message(L, t, err);
  else push_transport_message(L, t);
  crux_sanitize(L, CRUX_SERVER_MESSAGE_MAX, NULL, 0);
  crux_setkey(L, err, CRUX_KEY_message);
}

/* The seconds that the server asks for; -1 if it does not. A date is measured by the server's
   own clock, if it tells. */
static double retry_after(lua_State *L) {
  double seconds = -1;
  time_t now = time(NULL), told;
  lua_getfield(L, -1, "headers");
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "date");
    if (lua_isstring(L, -1) && (told = curl_getdate(lua_tostring(L, -1), NULL)) != (time_t)-1) now = told;
    lua_getfield(L, -2, "retry-after");
    if (lua_isstring(L, -1)) seconds = crux_retry_after(lua_tostring(L, -1), now);
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
  return seconds;
}

/* With the error on top: its hint, if there is one, and where in the error there is more. */
static void set_hint(lua_State *L, const crux_reply *r, bool safe) {
  int err = lua_gettop(L);
  const char *hint = hint_of(r, safe), *more = "";
  if (!hint) return;
  crux_getkey(L, err, r->response.status == 429 ? CRUX_KEY_retry_after : CRUX_KEY_fields);
  if (!lua_isnil(L, -1) && r->response.status == 429) more = ", as long as err.retry_after says";
  if (!lua_isnil(L, -1) && r->response.status == 400) more = ": see err.fields";
  lua_pushfstring(L, "%s%s", hint, more);
  crux_setkey(L, err, CRUX_KEY_hint);
  lua_settop(L, err);
}

int crux_push_reply(lua_State *L, crux_transfer *t) {
  const crux_reply *r = &t->reply;
  bool safe = t->request->safe;
  double after;
  if (r->verdict.outcome == CRUX_ACCEPTED) {
    lua_createtable(L, 0, 6);
    crux_set_text(L, CRUX_KEY_outcome, crux_outcome_name(CRUX_ACCEPTED));
    crux_set_integer(L, CRUX_KEY_status, r->response.status);
    set_response(L, t);
    return 1;
  }
  lua_pushnil(L);
  lua_createtable(L, 0, 12);
  crux_set_text(L, CRUX_KEY_outcome, crux_outcome_name(r->verdict.outcome));
  crux_set_text(L, CRUX_KEY_kind, crux_kind_name(r->verdict.kind));
  if (r->response.status) crux_set_integer(L, CRUX_KEY_status, r->response.status);
  crux_set_field_errors(L, set_response(L, t));
  after = retry_after(L);
  if (after >= 0) crux_set_number(L, CRUX_KEY_retry_after, after);
  crux_set_boolean(L, CRUX_KEY_retryable, crux_retryable(r->verdict, r->response.status, after >= 0, safe));
  set_message(L, t);
  set_hint(L, r, safe);
  crux_set_class(L, CRUX_CLASS_ERROR);
  return 2;
}
