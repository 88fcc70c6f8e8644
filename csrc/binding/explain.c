/* explain: see explain.h. */
#include "explain.h"

#include "error.h"
#include "field_errors.h"
#include "secrets.h"

#include <stdio.h>
#include <string.h>

/* --- messages; each pushes one --- */

static void push_http_message(lua_State *L, const crux_endpoint *endpoint, const crux_transfer *t,
                              int err) {
  const char *name = crux_status_name(t->reply.response.status);
  lua_pushfstring(L, "HTTP %d%s%s", t->reply.response.status, name[0] ? " " : "", name);
  crux_getkey(L, err, CRUX_KEY_detail);
  if (lua_type(L, -1) != LUA_TSTRING || crux_rawlen(L, -1) == 0) {
    lua_pop(L, 1);
    if (!crux_push_first_field_error(L, err)) return;
  }
  /* only the server's words may hold a secret; a short one may be part of our own */
  crux_redact_body_secrets(L, CRUX_MESSAGE_MAX, endpoint, t->request);
  crux_sanitize(L, CRUX_SERVER_MESSAGE_MAX, t->wire + t->token_at, t->token_len);
  lua_pushliteral(L, ": ");
  lua_insert(L, -2);
  lua_concat(L, 3);
}

/* The proxy as the user gave it, without its user and password. */
static const char *proxy_host(const crux_settings *s) {
  const char *scheme = strstr(s->proxy, "://"), *host = scheme ? scheme + 3 : s->proxy;
  const char *at = strrchr(host, '@');
  return at ? at + 1 : host;
}

static void push_proxy_message(lua_State *L, const crux_transfer *t, const char *host) {
  const crux_reply *r = &t->reply;
  bool refused = r->os_error && r->code == CURLE_COULDNT_CONNECT;
  lua_pushfstring(L, "could not connect to %s through the proxy %s: ", host,
                  proxy_host(&t->request->config->settings));
  /* not the text of CURLOPT_ERRORBUFFER: it may quote the proxy's URL, and with it a password */
  if (r->proxy_status) lua_pushfstring(L, "the proxy answered HTTP %d", r->proxy_status);
  else lua_pushstring(L, refused ? strerror(r->os_error) : curl_easy_strerror(r->code));
  lua_concat(L, 2);
}

static void push_timeout_message(lua_State *L, const crux_transfer *t, const char *host) {
  const crux_reply *r = &t->reply;
  char time[32];
  snprintf(time, sizeof time, "%ld ms", (long)(r->time.total * 1e3));
  if (r->cause == CRUX_CAUSE_EXPIRED)
    lua_pushfstring(L, "queued for %s without a free connection", time);
  else if (!r->connected) lua_pushfstring(L, "no connection to %s within %s", host, time);
  else if (r->sends == 0) lua_pushfstring(L, "no request sent to %s within %s", host, time);
  else lua_pushfstring(L, "no whole answer from %s within %s", host, time);
}

static void push_protocol_message(lua_State *L, const crux_transfer *t, const char *host) {
  switch (t->reply.cause) {
    case CRUX_CAUSE_UNSOLICITED:
      lua_pushfstring(L, "%s sent a response before the request", host);
      return;
    case CRUX_CAUSE_HEAD_CUT:
      lua_pushfstring(L, "expected a whole response head from %s, found one cut off", host);
      return;
    case CRUX_CAUSE_HEAD_LIMIT:
      lua_pushfstring(L, "expected a response head of at most %d bytes from %s, found a longer one",
                      CRUX_HEAD_MAX, host);
      return;
    default:
      lua_pushfstring(L, "expected an HTTP response from %s, found something else", host);
      return;
  }
}

static void push_tls_message(lua_State *L, const crux_transfer *t, const char *host) {
  const crux_reply *r = &t->reply;
  const char *why = r->error ? r->error : curl_easy_strerror(r->code);
  const char *ca_file = t->request->config->settings.ca_file;
  size_t len = strlen(why);
  /* GnuTLS ends its messages with a full stop */
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
  if (r->sends == 0)
    lua_pushfstring(L, "%s closed the connection before the request was sent", host);
  else if (r->code == CURLE_GOT_NOTHING)
    lua_pushfstring(L, "%s closed the connection without an answer", host);
  else
    lua_pushfstring(L, "the connection to %s broke before a whole answer: %s", host,
                    curl_easy_strerror(r->code));
}

static const char *aborted_message(crux_cause cause) {
  switch (cause) {
    case CRUX_CAUSE_EXITING: return "the process is exiting";
    case CRUX_CAUSE_FORKED: return CRUX_INHERITED;
    default: return "aborted by the caller";
  }
}

/* Has no default, so that the compiler warns of a kind that is left out. */
static void push_message(lua_State *L, const crux_endpoint *endpoint, const crux_transfer *t,
                         int err) {
  const crux_reply *r = &t->reply;
  const char *host = t->request->config->host;
  switch (r->verdict.kind) {
    case CRUX_KIND_HTTP:
    case CRUX_KIND_AUTH: push_http_message(L, endpoint, t, err); return;
    case CRUX_KIND_ABORTED: lua_pushstring(L, aborted_message(r->cause)); return;
    case CRUX_KIND_MEMORY:
      lua_pushstring(L, r->cause == CRUX_CAUSE_NOFILE ? "no file descriptor left for a connection"
                                                      : "out of memory");
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
    case CRUX_KIND_NONE: /* this and the next are no kinds of a failed attempt */
    case CRUX_KIND_INVALID:
    case CRUX_KIND_NETWORK: push_network_message(L, t, host); return;
  }
}

void crux_set_message(lua_State *L, const crux_endpoint *endpoint, const crux_transfer *t) {
  int err = lua_gettop(L);
  push_message(L, endpoint, t, err);
  crux_sanitize(L, CRUX_SERVER_MESSAGE_MAX, NULL, 0);
  crux_setkey(L, err, CRUX_KEY_message);
}

/* --- hints --- */

void crux_push_unknown_hint(lua_State *L, const crux_endpoint *endpoint) {
  if (endpoint->safe) lua_pushliteral(L, "nothing was changed: it may be tried again");
  else if (endpoint->look)
    lua_pushfstring(L, "it may have been carried out: look with %s before sending it again",
                    endpoint->look);
  else lua_pushliteral(L, "it may have been carried out: find out before sending it again");
}

/* What to do if nothing was sent; NULL if there is nothing to say. */
static const char *not_sent_hint(crux_kind kind) {
  switch (kind) {
    case CRUX_KIND_DNS:
      return "check base_url and this machine's name resolution; nothing was sent";
    case CRUX_KIND_CONNECT:
      return "check base_url, and whether a firewall or proxy is in the way; nothing was sent";
    case CRUX_KIND_PROXY:
      return "check the proxy: the option `proxy`, or https_proxy in the environment; "
             "nothing was sent";
    case CRUX_KIND_TLS:
      return "the server could not prove who it is, or the handshake failed: check base_url, "
             "the clock, and ca_file";
    case CRUX_KIND_TIMEOUT: return "nothing was sent: it may be tried again";
    default: return NULL;
  }
}

/* Pushes the hint, or nil. */
static void push_hint(lua_State *L, const crux_endpoint *endpoint, const crux_reply *r) {
  const char *hint = crux_status_hint(endpoint->hints, r->response.status);
  if (hint) lua_pushstring(L, hint);
  else if (r->verdict.outcome == CRUX_UNKNOWN) crux_push_unknown_hint(L, endpoint);
  else lua_pushstring(L, not_sent_hint(r->verdict.kind));
}

/* What is added to the hint of a status: which field of the error to look at, if it is set. */
static const char *reference_of(lua_State *L, int status, int err) {
  const char *reference = "";
  if (status == 429) {
    crux_getkey(L, err, CRUX_KEY_retry_after);
    reference = ", as long as err.retry_after says";
  } else if (status == 400) {
    crux_getkey(L, err, CRUX_KEY_fields);
    reference = ": see err.fields";
  } else return "";
  if (lua_isnil(L, -1)) reference = "";
  lua_pop(L, 1);
  return reference;
}

void crux_set_hint(lua_State *L, const crux_endpoint *endpoint, const crux_transfer *t) {
  int err = lua_gettop(L);
  push_hint(L, endpoint, &t->reply);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  lua_pushstring(L, reference_of(L, t->reply.response.status, err));
  lua_concat(L, 2);
  crux_setkey(L, err, CRUX_KEY_hint);
}
