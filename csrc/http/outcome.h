/* outcome: from what one attempt showed to what may be claimed of it. Pure functions; nothing
   here touches a handle. */
#ifndef CRUX_OUTCOME_H
#define CRUX_OUTCOME_H

#include <curl/curl.h>
#include <stdbool.h>
#include <time.h>

typedef enum { CRUX_ACCEPTED, CRUX_REJECTED, CRUX_NOT_SENT, CRUX_UNKNOWN } crux_outcome;

typedef enum {
  CRUX_KIND_NONE, /* accepted */
  CRUX_KIND_INVALID,
  CRUX_KIND_AUTH,
  CRUX_KIND_DNS,
  CRUX_KIND_CONNECT,
  CRUX_KIND_PROXY,
  CRUX_KIND_TLS,
  CRUX_KIND_TIMEOUT,
  CRUX_KIND_NETWORK,
  CRUX_KIND_PROTOCOL,
  CRUX_KIND_HTTP,
  CRUX_KIND_ABORTED,
  CRUX_KIND_MEMORY
} crux_kind;

/* Why an attempt ended, where libcurl's code does not say it. */
typedef enum {
  CRUX_CAUSE_NONE,
  CRUX_CAUSE_ABORTED,     /* by the caller */
  CRUX_CAUSE_UNSOLICITED, /* what came was sent without knowing of the request */
  CRUX_CAUSE_MALFORMED,   /* what came is no response head */
  CRUX_CAUSE_HEAD_CUT,    /* the connection was closed inside the response head */
  CRUX_CAUSE_HEAD_LIMIT,  /* the response head grew over its limit */
  CRUX_CAUSE_ALERT,       /* TLS failed on a connection that was established */
  CRUX_CAUSE_NOMEM,       /* out of memory */
  CRUX_CAUSE_NOFILE,      /* no descriptor for a connection */
  CRUX_CAUSE_EXPIRED,     /* the deadline passed in the queue */
  CRUX_CAUSE_EXITING,     /* exit() has begun */
  CRUX_CAUSE_FORKED       /* this is a forked child, and the attempt its parent's */
} crux_cause;

typedef struct {
  CURLcode code;
  crux_cause cause;
  int status;       /* of the final head, 0 without one */
  bool head;        /* the final head arrived whole */
  bool sent;        /* a byte of the request was handed to a connection */
  bool tls;         /* an https origin */
  bool proxied;
  bool ready;       /* a connection was established, its TLS handshake included */
  int proxy_status; /* of the proxy's answer to CONNECT, 0 without one */
} crux_evidence;

typedef struct {
  crux_outcome outcome;
  crux_kind kind;
  bool permanent; /* another attempt would end the same way */
} crux_verdict;

crux_verdict crux_judge(const crux_evidence *e);

/* May another attempt be made? `safe`: the endpoint changes nothing. */
bool crux_retryable(crux_verdict v, int status, bool retry_after, bool safe);

const char *crux_outcome_name(crux_outcome outcome);
const char *crux_kind_name(crux_kind kind);
/* The kind of that name; CRUX_KIND_NONE if there is none such. */
crux_kind crux_kind_named(const char *name);

/* Seconds that a Retry-After header asks for: a number or an HTTP date, which is measured from
   `now`. -1 if neither. */
double crux_retry_after(const char *value, time_t now);

#endif
