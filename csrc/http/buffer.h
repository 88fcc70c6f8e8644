/* buffer: bytes that grow up to a limit; a failure leaves the content as it was. Sees neither Lua
   nor curl. */
#ifndef CRUX_BUFFER_H
#define CRUX_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

typedef enum {
  CRUX_BUFFER_OK,   /* everything was added */
  CRUX_BUFFER_FULL, /* the limit was reached: only a part was added */
  CRUX_BUFFER_NOMEM /* out of memory: nothing was added */
} crux_buffer_status;

typedef struct {
  char *data; /* NULL at first; then `len` bytes and a NUL */
  size_t len;
  size_t capacity; /* bytes that were allocated */
} crux_buffer;

/* Allocates memory for `size` bytes in all and the NUL after them. False without memory. */
bool crux_buffer_grow(crux_buffer *b, size_t size);
static inline bool crux_buffer_reserve(crux_buffer *b, size_t size) {
  return size < b->capacity || crux_buffer_grow(b, size);
}

/* Appends data up to a length of `max` bytes in all. */
crux_buffer_status crux_buffer_add(crux_buffer *b, const char *data, size_t len, size_t max);

/* Empties the buffer, and keeps its memory. */
void crux_buffer_clear(crux_buffer *b);
void crux_buffer_free(crux_buffer *b);

/* Overwrites a secret before its memory is freed. Compilers do not remove it as a dead store. */
void crux_wipe(void *data, size_t len);

#endif
