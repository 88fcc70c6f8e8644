/* buffer: see buffer.h. */
#include "buffer.h"

#include <stdlib.h>
#include <string.h>

bool crux_buffer_grow(crux_buffer *b, size_t size) {
  size_t capacity = b->capacity > 256 ? b->capacity : 256;
  char *grown;
  while (capacity <= size) capacity *= 2;
  grown = realloc(b->data, capacity);
  if (!grown) return false;
  if (!b->data) grown[0] = '\0';
  b->data = grown;
  b->capacity = capacity;
  return true;
}

crux_buffer_status crux_buffer_add(crux_buffer *b, const char *data, size_t len, size_t max) {
  crux_buffer_status status = CRUX_BUFFER_OK;
  if (len > max - b->len) {
    len = max - b->len;
    status = CRUX_BUFFER_FULL;
  }
  if (!crux_buffer_reserve(b, b->len + len)) return CRUX_BUFFER_NOMEM;
  memcpy(b->data + b->len, data, len);
  b->len += len;
  b->data[b->len] = '\0';
  return status;
}

void crux_buffer_clear(crux_buffer *b) {
  b->len = 0;
  if (b->data) b->data[0] = '\0';
}

void crux_buffer_free(crux_buffer *b) {
  free(b->data);
  b->data = NULL;
  b->len = b->capacity = 0;
}

void crux_wipe(void *data, size_t len) {
  static void *(*const volatile wipe)(void *, int, size_t) = memset;
  wipe(data, 0, len);
}
