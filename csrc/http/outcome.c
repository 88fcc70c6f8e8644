/* outcome: see outcome.h. */
#include "outcome.h"

#include <string.h>

static crux_outcome outcome_of(const crux_evidence *e) {
  /* A whole response head counts, whatever happens to the connection afterwards. One that is
     unsolicited does not: it says nothing about the request. */
  if (!e->sent) return CRUX_NOT_SENT;
  if (e->cause == CRUX_CAUSE_UNSOLICITED) return CRUX_UNKNOWN;
  if (e->head) {
    if (e->status >= 200 && e->status <= 299) return CRUX_ACCEPTED;
    if (e->status >= 400 && e->status <= 499) return CRUX_REJECTED;
    if (e->status == 301 || e->status == 307 || e->status == 308) return CRUX_REJECTED;
  }
  return CRUX_UNKNOWN;
}

static crux_kind kind_of_cause(crux_cause cause) {
  switch (cause) {
    case CRUX_CAUSE_ABORTED:
    case CRUX_CAUSE_EXITING:
    case CRUX_CAUSE_FORKED: return CRUX_KIND_ABORTED;
    case CRUX_CAUSE_UNSOLICITED:
    case CRUX_CAUSE_MALFORMED:
    case CRUX_CAUSE_HEAD_CUT:
    case CRUX_CAUSE_HEAD_LIMIT: return CRUX_KIND_PROTOCOL;
    case CRUX_CAUSE_ALERT: return CRUX_KIND_TLS;
    case CRUX_CAUSE_EXPIRED: return CRUX_KIND_TIMEOUT;
    default: return CRUX_KIND_MEMORY;
  }
}

/* libcurl may return these codes at run time although its headers, at build time, did not name
   them yet. */
#define PROXY 97          /* CURLE_PROXY, from 7.73 on */
#define SSL_CLIENTCERT 98 /* CURLE_SSL_CLIENTCERT, from 7.77 on */

static crux_kind kind_of_code(const crux_evidence *e) {
  switch ((int)e->code) {
    case PROXY:
    case CURLE_COULDNT_RESOLVE_PROXY: return CRUX_KIND_PROXY;
    case CURLE_COULDNT_RESOLVE_HOST: return CRUX_KIND_DNS;
    case CURLE_COULDNT_CONNECT: return e->proxied ? CRUX_KIND_PROXY : CRUX_KIND_CONNECT;
    case CURLE_OPERATION_TIMEDOUT: return CRUX_KIND_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_BAD_FUNCTION_ARGUMENT: /* from libcurl 8.16 on: a bad client key */
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_USE_SSL_FAILED:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_SHUTDOWN_FAILED:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case SSL_CLIENTCERT: return CRUX_KIND_TLS;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT: return CRUX_KIND_MEMORY;
    case CURLE_OK:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY: return CRUX_KIND_PROTOCOL;
    default:
      /* the connection broke: the kind depends on how far it had come */
      if (e->sent || e->connected) return CRUX_KIND_NETWORK;
      if (e->proxied) return CRUX_KIND_PROXY;
      return e->tls ? CRUX_KIND_TLS : CRUX_KIND_NETWORK;
  }
}

crux_verdict crux_judge(const crux_evidence *e) {
  crux_verdict v;
  v.outcome = outcome_of(e);
  /* RFC 9110 15.5.4, 15.5.8: the proxy forbids it, or demands credentials */
  v.permanent = !e->connected && (e->proxy_status == 403 || e->proxy_status == 407);
  if (v.outcome == CRUX_ACCEPTED) v.kind = CRUX_KIND_NONE;
  else if (e->sent && e->head && e->cause != CRUX_CAUSE_UNSOLICITED)
    v.kind = e->status == 401 ? CRUX_KIND_AUTH : CRUX_KIND_HTTP;
  else v.kind = e->cause != CRUX_CAUSE_NONE ? kind_of_cause(e->cause) : kind_of_code(e);
  return v;
}

bool crux_retryable(crux_verdict v, int status, bool retry_after, bool safe) {
  switch (v.outcome) {
    case CRUX_NOT_SENT:
      if (v.permanent) return false;
      return v.kind == CRUX_KIND_DNS || v.kind == CRUX_KIND_CONNECT || v.kind == CRUX_KIND_PROXY ||
             v.kind == CRUX_KIND_TIMEOUT || v.kind == CRUX_KIND_NETWORK;
    case CRUX_REJECTED: return status == 429 && retry_after;
    case CRUX_UNKNOWN: return safe;
    default: return false;
  }
}

const char *crux_outcome_name(crux_outcome outcome) {
  static const char *const names[] = { "accepted", "rejected", "not_sent", "unknown" };
  return names[outcome];
}

static const char *const kind_names[] = {
  "none", "invalid", "auth", "dns", "connect", "proxy", "tls", "timeout", "network", "protocol",
  "http", "aborted", "memory",
};

const char *crux_kind_name(crux_kind kind) { return kind_names[kind]; }

crux_kind crux_kind_named(const char *name) {
  int kind;
  for (kind = CRUX_KIND_MEMORY; kind > CRUX_KIND_NONE; kind--) {
    if (strcmp(kind_names[kind], name) == 0) break;
  }
  return (crux_kind)kind;
}

double crux_retry_after(const char *value, time_t now) {
  double seconds = 0;
  const char *p = value;
  time_t date;
  while (*p >= '0' && *p <= '9') seconds = seconds * 10 + (*p++ - '0');
  if (p != value && *p == '\0') return seconds > 1e9 ? 1e9 : seconds;
  date = curl_getdate(value, NULL);
  if (date == (time_t)-1) return -1;
  return date > now ? (double)(date - now) : 0;
}
