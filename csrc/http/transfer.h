/* transfer: one attempt at a request: what is written and read for it on a connection, and what may
   be said of it afterwards. */
#ifndef CRUX_TRANSFER_H
#define CRUX_TRANSFER_H

#include "connection.h"
#include "outcome.h"
#include "request.h"
#include "response.h"

typedef struct {
  crux_verdict verdict;
  CURLcode code;
  crux_cause cause;
  int os_error;     /* errno of the connection that failed, 0 if unknown */
  int proxy_status; /* of the proxy's answer to CONNECT, 0 without one */
  bool ready;       /* a connection was established */
  bool direct;      /* one could not be, and was not tried through the proxy, because of no_proxy */
  crux_response response;
  unsigned sends;   /* 0 or 1 */
  size_t bytes_sent;
  bool reused;
  struct {
    double dns, connect, tls, first_byte, total;
  } time;
  char *error;      /* libcurl's own words for `code`, or NULL */
} crux_reply;

/* An attempt goes from WAITING either to SENT, just before the first byte is handed to a
   connection, or to ABORTED: whoever is second sees that it is. */
typedef enum { CRUX_STAGE_WAITING, CRUX_STAGE_SENT, CRUX_STAGE_ABORTED } crux_stage;

/* What an attempt needs to go on. */
typedef enum {
  CRUX_STEP_READ,   /* its descriptor to become readable */
  CRUX_STEP_WRITE,  /* its descriptor to become readable or writable */
  CRUX_STEP_READY,  /* only its turn: it has done as much as one may at a time */
  CRUX_STEP_UNUSED, /* another connection: this one broke, and not one byte was handed to it */
  CRUX_STEP_DONE    /* nothing more: `reply` is complete but for the verdict */
} crux_step;

typedef struct crux_transfer {
  atomic_uint refs;
  atomic_int stage;
  atomic_bool done;       /* `reply` is complete, and no longer the engine's */
  crux_request *request;
  double started;
  double deadline;        /* of this attempt, on crux_now's clock */
  double connect_timeout; /* seconds */
  crux_reply reply;

  crux_connection *connection;
  size_t sent;            /* bytes of `wire` that went through */
  size_t piece;           /* bytes that are to be offered again as they were, after CRUX_IO_AGAIN */
  bool acknowledged;      /* the peer has a byte of the request */
  bool upload_stopped;    /* an early answer made the rest of the request pointless */

  struct crux_queue *queue;
  size_t heap_index;      /* in its queue, or among the engine's deadlines, */
  unsigned long sequence; /* and when it came there */
  struct {
    struct crux_transfer *next, **link; /* `link`: once its owner has seen it arrive */
    void *owner;
    void (*release_owner)(void *owner);
    double number;        /* 0: nobody will ask for it any more */
  } inbox;
  struct { struct crux_transfer *next_submitted, *next_aborted; } worker;
  void *waiter;           /* to be told when the attempt has ended, see nginx.h */

  size_t head_len, wire_len;
  size_t token_at, token_len;
  char wire[];            /* head and body as they are sent */
} crux_transfer;

/* With one reference; a `token` of NULL: without Authorization. NULL without memory. */
crux_transfer *crux_transfer_new(crux_request *request, const char *token, double deadline,
                                 double connect_timeout);
crux_transfer *crux_transfer_retain(crux_transfer *t);
void crux_transfer_release(crux_transfer *t);

/* Aborts the attempt. True: it had not been sent and never will be. */
bool crux_transfer_abort(crux_transfer *t);

/* Why it must not be sent any more: aborted, or past its deadline. NONE if it may be. */
crux_cause crux_transfer_is_too_late(const crux_transfer *t);

/* Takes libcurl's account of the connection that was made for the attempt: CURLE_OK, or why it
   could not be established. */
void crux_transfer_connected(crux_transfer *t, CURLcode code);

/* Reads a connection that is about to be used. Expected is CRUX_IO_AGAIN: nobody has spoken on it,
   and TLS has taken what is its own, such as session tickets. On anything else the connection must
   not be used; on a fresh one that ends the attempt, and `_failed` takes down why. */
crux_io crux_transfer_probe(crux_connection *c, char *buffer, size_t size);
void crux_transfer_probe_failed(crux_transfer *t, crux_io found);

/* Writes and reads as far as it goes. `readable`: the descriptor is known to be. */
crux_step crux_transfer_advance(crux_transfer *t, bool readable, char *buffer, size_t size);

/* After CRUX_STEP_DONE: whether the connection can carry another request. */
bool crux_transfer_can_keep(const crux_transfer *t);

/* Ends the attempt, with the verdict on what is in `reply`. */
void crux_transfer_conclude(crux_transfer *t);
void crux_transfer_fail(crux_transfer *t, crux_cause cause);

#endif
