/* response: parses one HTTP/1.x response (RFC 9112) out of the bytes of a connection. It does no
   I/O, may be fed pieces of any size, and its memory is bounded: a head of at most CRUX_HEAD_MAX
   bytes, a body of at most `max_body`. Knows nothing of Lua or curl. */
#ifndef CRUX_RESPONSE_H
#define CRUX_RESPONSE_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of all heads of a response together, interim ones (1xx) included. */
#define CRUX_HEAD_MAX 65536

typedef enum {
  CRUX_RESPONSE_HEAD,     /* the final head has not arrived whole */
  CRUX_RESPONSE_BODY,     /* the final head stands; more of the body is expected */
  CRUX_RESPONSE_COMPLETE, /* nothing more belongs to this response */
  CRUX_RESPONSE_REFUSED   /* the head is not one of a response; `refusal` says why */
} crux_response_state;

/* Why a head was refused. */
typedef enum {
  CRUX_REFUSAL_NONE,
  CRUX_REFUSAL_STATUS_LINE, /* not a status line of HTTP/1.x with a status of 100 to 999, or 101 */
  CRUX_REFUSAL_FIELD,       /* a malformed field line, or a continuation line where none may be */
  CRUX_REFUSAL_LENGTH,      /* Content-Length is no number, or there are several that differ */
  CRUX_REFUSAL_TOO_LONG,    /* more than CRUX_HEAD_MAX bytes of head */
  CRUX_REFUSAL_CUT,         /* the connection ended inside the head */
  CRUX_REFUSAL_NOMEM        /* the buffer of the head could not grow */
} crux_refusal;

/* How the body ended; meaningful once the state is COMPLETE. */
typedef enum {
  CRUX_BODY_WHOLE,
  CRUX_BODY_CUT,     /* the connection ended before the body did */
  CRUX_BODY_BROKEN,  /* the chunked framing is malformed */
  CRUX_BODY_CODED,   /* a transfer coding other than one `chunked`: it is left in `body` */
  CRUX_BODY_LIMIT,   /* longer than max_body */
  CRUX_BODY_NOMEM    /* the buffer of the body could not grow */
} crux_body_end;

/* What the head says that is being read; the parser's own. */
typedef struct {
  int status;
  int last_field;              /* the one that a continuation line continues */
  size_t last_value;           /* where its value begins in `fields` */
  bool keep_alive;             /* "Connection: keep-alive" */
  bool has_length, has_coding; /* Content-Length, Transfer-Encoding */
  uint64_t length;
  unsigned codings; /* without `identity` */
  bool chunked;     /* the last coding is `chunked` */
} crux_response_head;

typedef struct {
  crux_response_state state;
  crux_refusal refusal;
  int status;              /* of the final head; 0 until that arrived whole */
  char version[4];         /* "1.1"; "" until a status line arrived */
  crux_buffer fields;      /* of the final head, in order: name NUL value NUL, names in lower case,
                              values trimmed, continuation lines joined by one blank */
  unsigned field_count;
  crux_buffer body;        /* as far as it arrived, chunked framing removed; in state HEAD it holds
                              an incomplete line */
  crux_body_end body_end;
  bool persistent;         /* from the final head on: whether the connection may be used for another
                              request; final once the state is COMPLETE */
  long keep_alive_timeout; /* seconds, from "Keep-Alive: timeout=n"; -1 without */
  /* The parser's own, below; see response.c. */
  size_t max_body;
  size_t head_len; /* of all heads so far */
  int next;        /* what the next byte belongs to */
  bool close;      /* a head says "Connection: close" */
  crux_response_head head;
  uint64_t remaining;    /* bytes of the sized body, or of the chunk */
  unsigned chunk_digits; /* of the chunk's size */
  size_t skipped;        /* bytes of chunk extensions and trailers */
} crux_response;

void crux_response_init(crux_response *r, size_t max_body);

/* Takes bytes that arrived, and returns how many it took: fewer than `len` only if the state is now
   COMPLETE or REFUSED. Bytes left over make the connection not persistent. */
size_t crux_response_feed(crux_response *r, const char *data, size_t len);

/* The connection has ended: the state is COMPLETE or REFUSED afterwards. */
void crux_response_end(crux_response *r);

void crux_response_free(crux_response *r);

#endif
