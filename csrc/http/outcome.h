/* outcome: turns the evidence that one attempt left into a verdict: what may be claimed about it.
   Pure functions, without I/O. */
#ifndef CRUX_OUTCOME_H
#define CRUX_OUTCOME_H

#include <curl/curl.h>
#include <stdbool.h>
#include <time.h>

typedef enum {
  CRUX_ACCEPTED, /* the server accepted the request: a status of 2xx */
  CRUX_REJECTED, /* the server refused it: 4xx, or a redirect that keeps the method */
  CRUX_NOT_SENT, /* no byte of it was sent */
  CRUX_UNKNOWN   /* it was sent, and nothing shows what the server did with it */
} crux_outcome;

/* In the order of their names in outcome.c; CRUX_KIND_MEMORY stays the last. */
typedef enum {
  CRUX_KIND_NONE,     /* accepted: no error */
  CRUX_KIND_INVALID,  /* wrong arguments or options */
  CRUX_KIND_AUTH,     /* no token, or status 401 */
  CRUX_KIND_DNS,      /* the name look-up failed */
  CRUX_KIND_CONNECT,  /* no TCP connection */
  CRUX_KIND_PROXY,    /* no connection through the proxy */
  CRUX_KIND_TLS,      /* the handshake or the verification failed */
  CRUX_KIND_TIMEOUT,  /* the deadline passed */
  CRUX_KIND_NETWORK,  /* an established connection broke */
  CRUX_KIND_PROTOCOL, /* the response is not one of HTTP/1.x */
  CRUX_KIND_HTTP,     /* a status that is neither 2xx nor 401 */
  CRUX_KIND_ABORTED,  /* by the caller, exit() or fork() */
  CRUX_KIND_MEMORY    /* out of memory or descriptors */
} crux_kind;

/* Why an attempt ended, if libcurl's code does not say it. */
typedef enum {
  CRUX_CAUSE_NONE,        /* libcurl's code says it */
  CRUX_CAUSE_ABORTED,     /* by the caller */
  CRUX_CAUSE_UNSOLICITED, /* bytes were received that cannot be a response to this request */
  CRUX_CAUSE_MALFORMED,   /* the bytes received are no response head */
  CRUX_CAUSE_HEAD_CUT,    /* the connection was closed inside the response head */
  CRUX_CAUSE_HEAD_LIMIT,  /* the response head is longer than CRUX_HEAD_MAX */
  CRUX_CAUSE_ALERT,       /* TLS failed on a connection that was established */
  CRUX_CAUSE_NOMEM,       /* out of memory */
  CRUX_CAUSE_NOFILE,      /* EMFILE or ENFILE: no descriptor for a connection */
  CRUX_CAUSE_EXPIRED,     /* the deadline passed in the queue */
  CRUX_CAUSE_EXITING,     /* exit() has begun */
  CRUX_CAUSE_FORKED       /* this is a forked child, and the attempt belongs to its parent */
} crux_cause;

typedef struct {
  CURLcode code;    /* the last one of libcurl's */
  crux_cause cause;
  int status;       /* of the final response head, 0 without one */
  bool head;        /* the final response head was received whole */
  bool sent;        /* a byte of the request was handed to a connection */
  bool tls;         /* the origin is https */
  bool proxied;     /* the connection was made, or attempted, through a proxy */
  bool connected;   /* a connection was established, including its TLS handshake */
  int proxy_status; /* of the proxy's response to CONNECT, 0 without one */
} crux_evidence;

typedef struct {
  crux_outcome outcome;
  crux_kind kind;
  bool permanent; /* another attempt would fail in the same way */
} crux_verdict;

crux_verdict crux_judge(const crux_evidence *e);

/* True if another attempt may be made: err.retryable. When it is made, lua/crux/retry.lua decides.
   `retry_after`: the response has that field; `safe`: see crux_request. */
bool crux_retryable(crux_verdict v, int status, bool retry_after, bool safe);

const char *crux_outcome_name(crux_outcome outcome);
const char *crux_kind_name(crux_kind kind);
/* The kind of that name; CRUX_KIND_NONE if there is none such. */
crux_kind crux_kind_named(const char *name);

/* Parses Retry-After (RFC 9110 10.2.3): seconds, or an HTTP date, from which `now` is subtracted.
   -1 if it is neither. */
double crux_retry_after(const char *value, time_t now);

#endif
