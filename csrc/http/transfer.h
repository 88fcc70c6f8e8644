/* transfer: one attempt at a request: it is sent and its response received over one connection, and
   its reply says what may be claimed about it. */
#ifndef CRUX_TRANSFER_H
#define CRUX_TRANSFER_H

#include "connection.h"
#include "outcome.h"
#include "request.h"
#include "response.h"

typedef struct {
  crux_verdict verdict;
  CURLcode code;          /* libcurl's last one */
  crux_cause cause;
  int os_error;           /* errno of the connection that failed, 0 if unknown */
  int proxy_status;       /* of the proxy's response to CONNECT, 0 without one */
  bool connected;         /* a connection was established */
  bool direct;            /* connecting failed, and no_proxy excluded the proxy */
  crux_response response;
  unsigned sends;         /* 0 or 1 */
  size_t bytes_sent;      /* of `wire`; over TLS an upper bound */
  bool reused;            /* the connection had carried an attempt before */
  struct {
    double dns, connect, tls;   /* durations in seconds, 0 on a reused connection */
    double first_byte, total;   /* seconds since `started`; 0 if it did not happen */
  } time;
  char *error;            /* libcurl's message for `code`, or NULL */
} crux_reply;

/* An attempt goes from WAITING either to SENT or to ABORTED, by an atomic compare-and-exchange. So
   exactly one of the engine and the caller who aborts it wins. */
typedef enum {
  CRUX_STAGE_WAITING, /* no byte was handed to a connection */
  CRUX_STAGE_SENT,    /* set just before the first byte is */
  CRUX_STAGE_ABORTED  /* it was aborted before, and is never sent */
} crux_stage;

/* Whether the rest of a request is still sent. */
typedef enum {
  CRUX_UPLOAD_RUNNING, /* yes, unless all of it was sent */
  CRUX_UPLOAD_STOPPED, /* no: an early response made the rest pointless */
  CRUX_UPLOAD_FAILED   /* no: sending failed; what the peer sent before that is still read */
} crux_upload;

/* What an attempt needs to go on. */
typedef enum {
  CRUX_STEP_READ,   /* its descriptor must become readable */
  CRUX_STEP_WRITE,  /* its descriptor must become readable or writable */
  CRUX_STEP_READY,  /* nothing: it has only used up its turn */
  CRUX_STEP_UNUSED, /* another connection: this one broke before any byte was handed to it */
  CRUX_STEP_DONE    /* it has ended: `reply` lacks only the verdict */
} crux_step;

/* Each sub-struct belongs to the file that is named in it. */
typedef struct crux_transfer {
  atomic_uint refs;
  atomic_int stage;       /* crux_stage */
  atomic_bool done;       /* `reply` is complete, and the engine does not use it any more */
  crux_request *request;
  double started;         /* on crux_now's clock */
  double deadline;        /* of this attempt, on crux_now's clock */
  double connect_timeout; /* seconds */
  crux_reply reply;

  struct { /* transfer.c; engine.c attaches and detaches the connection */
    crux_connection *connection;
    size_t sent;          /* bytes of `wire` that were sent */
    size_t piece;         /* after CRUX_IO_AGAIN: bytes that must be offered again unchanged */
    bool acknowledged;    /* the peer has received a byte of the request */
    crux_upload upload;
  } exchange;
  struct crux_queue *queue; /* its client's, until it ends */
  struct { /* deadlines.c */
    size_t index;           /* in the heap of its queue, or of the engine's deadlines */
    unsigned long sequence; /* order of arrival there */
  } heap;
  struct { /* inbox.c */
    struct crux_transfer *next, **link; /* in the inbox; `link` once the owner has seen it there */
    void *owner;                        /* the inbox */
    void (*release_owner)(void *owner);
    double number;                      /* the owner's id for it; 0: it was forgotten */
  } inbox;
  struct { /* worker.c */
    struct crux_transfer *next_submitted, *next_aborted; /* in the worker's lists */
  } worker;
  void *waiter;           /* ngx.semaphore that is posted when the attempt has ended, see nginx.h */

  size_t head_len;            /* bytes of `wire` before the body */
  size_t wire_len;            /* bytes of `wire` */
  size_t token_at, token_len; /* offset and length of the token in `wire` */
  char wire[];                /* head and body as they are sent */
} crux_transfer;

/* The caller has the one reference. With a `token` of NULL there is no Authorization. `headers`:
   further field lines in place of those among the settings; NULL: those. NULL without memory. */
crux_transfer *crux_transfer_new(crux_request *request, const char *token, const char *headers,
                                 double deadline, double connect_timeout);
crux_transfer *crux_transfer_retain(crux_transfer *t);
void crux_transfer_release(crux_transfer *t);

/* Aborts the attempt. True: it was not sent, and never will be. */
bool crux_transfer_abort(crux_transfer *t);

/* NONE if the attempt may start; otherwise why not: ABORTED, or EXPIRED. */
crux_cause crux_transfer_check_start(const crux_transfer *t);

/* Records the end of connecting in `reply`: CURLE_OK, or why it failed. */
void crux_transfer_connected(crux_transfer *t, CURLcode code);

/* Records that crux_connection_probe found a fresh connection unusable. */
void crux_transfer_probe_failed(crux_transfer *t, crux_io found);

/* Sends and receives until it would block, or until its turn is over. `readable`: the poller has
   reported the descriptor as readable. */
crux_step crux_transfer_advance(crux_transfer *t, bool readable, char *buffer, size_t size);

/* For an attempt without a connection: all of its request counts as sent; these bytes count as all
   that the server sent after that, before it closed the connection. Then `reply` lacks only the
   verdict. */
void crux_transfer_sent_all(crux_transfer *t);
void crux_transfer_received_all(crux_transfer *t, const char *data, size_t len);

/* After CRUX_STEP_DONE: true if the connection can carry another request. */
bool crux_transfer_can_reuse(const crux_transfer *t);

/* Ends the attempt, with the verdict on `reply`; `_fail` sets its cause before. */
void crux_transfer_conclude(crux_transfer *t);
void crux_transfer_fail(crux_transfer *t, crux_cause cause);

#endif
