/* response: parses one HTTP/1.x response (RFC 9112) out of the bytes of a connection. It does no
   I/O, may be fed pieces of any size, and its memory is bounded: a head of at most CRUX_HEAD_MAX
   bytes, a body of at most `max_body`. Sees neither Lua nor curl. */
#ifndef CRUX_RESPONSE_H
#define CRUX_RESPONSE_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The limit for all heads of a response together, including those of interim responses (1xx). */
#define CRUX_HEAD_MAX 65536

typedef enum {
  CRUX_RESPONSE_HEAD,     /* the final head is not complete */
  CRUX_RESPONSE_BODY,     /* the final head is complete, the body is not */
  CRUX_RESPONSE_COMPLETE, /* the response is complete */
  CRUX_RESPONSE_REFUSED   /* the head is malformed; `refusal` says why */
} crux_response_state;

/* Why a head was refused. */
typedef enum {
  CRUX_REFUSAL_NONE,        /* it was not refused */
  CRUX_REFUSAL_STATUS_LINE, /* not a status line of HTTP/1.x with a status of 100 to 999, or 101 */
  CRUX_REFUSAL_FIELD,       /* a malformed field line, or a continuation line that is not allowed */
  CRUX_REFUSAL_LENGTH,      /* Content-Length is no number, or there are several that differ */
  CRUX_REFUSAL_TOO_LONG,    /* more than CRUX_HEAD_MAX bytes of head */
  CRUX_REFUSAL_CUT,         /* the connection ended inside the head */
  CRUX_REFUSAL_NOMEM        /* the buffer of the head could not grow */
} crux_refusal;

/* How the body ended; meaningful once the state is COMPLETE. */
typedef enum {
  CRUX_BODY_WHOLE,   /* as its framing says */
  CRUX_BODY_CUT,     /* the connection ended before the body did */
  CRUX_BODY_BROKEN,  /* the chunked framing is malformed */
  CRUX_BODY_CODED,   /* a transfer coding other than one `chunked`: `body` is not decoded */
  CRUX_BODY_LIMIT,   /* longer than max_body */
  CRUX_BODY_NOMEM    /* the buffer of the body could not grow */
} crux_body_end;

/* The head that is being parsed; private to the parser. */
typedef struct {
  int status;
  int last_field;      /* the field that a continuation line would continue */
  size_t last_value;   /* offset of its value in `fields` */
  bool keep_alive;     /* "Connection: keep-alive" */
  bool has_length;     /* there is a Content-Length */
  bool has_coding;     /* there is a Transfer-Encoding */
  size_t length_at;    /* offset in `fields` of the first Content-Length's digits, */
  size_t length_len;   /* and their number, both without leading zeros */
  uint64_t length;     /* Content-Length, see NUMBER_MAX in response.c */
  unsigned codings;    /* transfer codings, without `identity` */
  bool chunked;        /* the last coding is `chunked` */
} crux_response_head;

typedef struct {
  crux_response_state state;
  crux_refusal refusal;
  int status;              /* of the final head; 0 until that is complete */
  char version[4];         /* "1.1"; "" before the first status line */
  crux_buffer fields;      /* of the final head, in order: name NUL value NUL, names in lower case,
                              values trimmed, continuation lines joined by one blank */
  unsigned field_count;    /* how many names are in `fields` */
  crux_buffer body;        /* the bytes received so far, without chunked framing; in state HEAD an
                              incomplete line */
  crux_body_end body_end;
  bool persistent;         /* the connection may be used for another request; valid once the state
                              is COMPLETE, before that it may still become false */
  long keep_alive_timeout; /* seconds, from "Keep-Alive: timeout=n"; -1 without */
  /* The members below are private to the parser. */
  size_t max_body;
  size_t head_len;         /* bytes of all heads so far */
  int next;                /* what the next byte belongs to: an enum of response.c */
  bool close;              /* a head has "Connection: close" */
  crux_response_head head;
  uint64_t remaining;      /* bytes of a body with a length, or of the chunk */
  unsigned chunk_digits;   /* digits of the chunk's size so far */
  size_t skipped;          /* bytes of chunk extensions and trailers */
} crux_response;

void crux_response_init(crux_response *r, size_t max_body);

/* Parses bytes that were received. Returns how many belong to the response: fewer than `len` only
   if the state is now COMPLETE or REFUSED. Bytes left over make the connection not persistent. */
size_t crux_response_feed(crux_response *r, const char *data, size_t len);

/* Call it when the connection has ended. Afterwards the state is COMPLETE or REFUSED. */
void crux_response_end(crux_response *r);

void crux_response_free(crux_response *r);

#endif
