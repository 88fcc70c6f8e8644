/* json_writer: JSON as it is written, piece by piece, into bounded memory. Knows nothing of Lua. */
#ifndef CRUX_BINDING_JSON_WRITER_H
#define CRUX_BINDING_JSON_WRITER_H

#include <stdbool.h>
#include <stddef.h>

#define CRUX_JSON_MAX (16 * 1024 * 1024)

typedef enum { CRUX_JSON_OK, CRUX_JSON_FULL, CRUX_JSON_NOMEM } crux_json_status;

/* All zeros: empty. After a failure nothing more is written. */
typedef struct {
  char *data;
  size_t len, cap;
  crux_json_status status;
} crux_json_writer;

/* Punctuation, or a value that needs no escaping. */
void crux_json_put(crux_json_writer *w, const char *text, size_t len);
/* The comma before it, if there is a need for one, the name and the colon. */
void crux_json_put_key(crux_json_writer *w, const char *name);
/* A string of UTF-8: RFC 8259 7. */
void crux_json_put_string(crux_json_writer *w, const char *s, size_t len);
/* A whole number from 0 to 2^53. */
void crux_json_put_whole(crux_json_writer *w, double value);
/* A sum in cents as a string, as in "7.50". */
void crux_json_put_cents(crux_json_writer *w, double cents);

/* Overwrites what was written, which may hold a password, and begins anew; keeps a little of the
   memory for that. */
void crux_json_clear(crux_json_writer *w);
void crux_json_free(crux_json_writer *w);

#endif
