/* transfer: one attempt at one request, as bytes in and bytes out, on an easy handle lent by an engine. Every guard that
   keeps a request from being sent twice, or answered by another's answer, is here. */
#ifndef CRUX_TRANSFER_H
#define CRUX_TRANSFER_H

#include "buffer.h"
#include "request.h"
#include "outcome.h"
#include "sockets.h"

#define CRUX_HEAD_MAX 65536

typedef enum { CRUX_BODY_WHOLE, CRUX_BODY_CUT, CRUX_BODY_LIMIT, CRUX_BODY_NOMEM } crux_body_end;

typedef struct {
  crux_verdict verdict;
  CURLcode code;
  crux_cause cause;
  int os_error;           /* errno of the connection that failed, 0 if unknown */
  int status;             /* of the final head; 0 unless it arrived whole */
  crux_buffer head, body; /* the final head with its status line; the body as far as it came */
  crux_body_end body_end;
  unsigned sends;         /* 0 or 1 */
  size_t bytes_sent;
  bool reused;
  char http_version[4];
  struct {
    double dns, connect, tls, first_byte, total;
  } time;
  char error[CURL_ERROR_SIZE];
} crux_reply;

/* An attempt goes from WAITING either to SENT, just before the first byte is handed over, or to ABORTED, when the caller
   gives up first: whoever is second sees that it is. */
typedef enum { CRUX_WAITING, CRUX_SENT, CRUX_ABORTED } crux_stage;

/* How curl may use connections for an attempt. */
typedef enum {
  CRUX_REUSE_KEPT,  /* a kept one, or a new one that is kept */
  CRUX_REUSE_FRESH, /* a new one */
  CRUX_REUSE_NONE   /* a new one, for this attempt alone */
} crux_reuse;

/* An easy handle and what it is set up for. */
typedef struct crux_easy {
  CURL *curl;
  struct crux_transfer *transfer; /* that it is lent to */
  crux_config *config;
  const crux_endpoint *endpoint;
  crux_reuse reuse;
  bool guarded;
  char *url;              /* and as curl takes it apart: calls go to the same one over and over */
  CURLU *parts;
  struct curl_slist headers[CRUX_HEADERS + 1];
  char error[CURL_ERROR_SIZE];
  struct crux_easy *next;
} crux_easy;

typedef struct crux_transfer {
  atomic_uint refs;
  atomic_int stage;
  atomic_bool done;       /* `reply` is complete, and no longer the engine's */
  crux_request *request;
  double deadline;        /* of this attempt, on crux_now's clock */
  double connect_timeout; /* seconds */
  size_t head_size;       /* bytes of head that it puts on the wire */
  crux_reply reply;

  /* the engine's, while it carries the attempt */
  crux_easy *easy;
  crux_sockets *sockets;
  struct crux_queue *line;
  bool *opens;            /* set once the connection stands */
  bool unwatched;
  size_t place;           /* in the line */
  unsigned long turn;     /* first come, first served */
  struct crux_transfer *previous, *next;
  /* the owner's, for its queues */
  struct crux_transfer *queued, *aborted;
  struct crux_transfer **link; /* in an inbox: what points to it there, once its owner has seen it arrive */
  void *owner;
  void (*forget_owner)(void *owner);
  double number;          /* 0: nobody will ask for it any more */
  void *waiter;           /* to be told when the attempt has ended, see resty.h */

  /* what the callbacks saw */
  double started;
  unsigned prereqs, opened;
  long size_before;       /* CURLINFO_REQUEST_SIZE when the request was first about to be sent: a proxy's CONNECT */
  bool spoiled;           /* the connection was unfit, nothing was sent: once more on a fresh one */
  bool fresh;
  bool ready;
  curl_socket_t fd;       /* the connection, if it is known which */
  bool head_begun, head_done;
  int head_status;

  char authorization[];   /* "Authorization: Token …", wiped when released */
} crux_transfer;

/* With one reference. NULL without memory. */
crux_transfer *crux_transfer_new(crux_request *request, const char *token, double deadline, double connect_timeout);
const char *crux_transfer_token(const crux_transfer *t);
crux_transfer *crux_transfer_retain(crux_transfer *t);
void crux_transfer_release(crux_transfer *t);

/* Gives the attempt up. True: it had not been sent and never will be. */
bool crux_transfer_abort(crux_transfer *t);

/* How many bytes of head and body the attempt puts on the wire. */
size_t crux_transfer_size(const crux_transfer *t);

crux_easy *crux_easy_new(void);
void crux_easy_free(crux_easy *easy);

/* Sets an idle handle up for the attempt. */
bool crux_transfer_prepare(crux_transfer *t, crux_easy *easy, crux_sockets *sockets);

/* Reads the handle's account of a finished attempt into `reply`. True: the attempt is to be started again, prepared
   anew, since its connection turned out unfit before anything was sent. */
bool crux_transfer_conclude(crux_transfer *t, CURLcode code);

/* The verdict on an attempt that ends without curl. */
void crux_transfer_fail(crux_transfer *t, crux_cause cause);

#endif
