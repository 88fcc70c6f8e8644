/* buffer: bytes that grow up to a ceiling and fail clean. Knows nothing of Lua or curl. */
#ifndef CRUX_BUFFER_H
#define CRUX_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { CRUX_BUFFER_OK, CRUX_BUFFER_FULL, CRUX_BUFFER_NOMEM } crux_buffer_status;

typedef struct {
  char *data; /* NULL until the first byte or reserve, then NUL-terminated behind len */
  size_t len, cap;
} crux_buffer;

/* Makes room for `size` bytes in all and the NUL behind them. Without memory: false, and the buffer
   is as it was. */
bool crux_buffer_grow(crux_buffer *b, size_t size);
static inline bool crux_buffer_reserve(crux_buffer *b, size_t size) {
  return size < b->cap || crux_buffer_grow(b, size);
}

/* Appends as much as `max` bytes in all allow: FULL when not everything fitted (the part that did
   is kept), NOMEM when nothing was added. */
crux_buffer_status crux_buffer_add(crux_buffer *b, const char *data, size_t len, size_t max);

/* Keeps the memory for the next content. */
void crux_buffer_clear(crux_buffer *b);
void crux_buffer_free(crux_buffer *b);

/* Overwrites a secret before its memory is let go; no compiler removes it as a dead store. */
void crux_wipe(void *data, size_t len);

#endif
