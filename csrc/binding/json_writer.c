/* json_writer: see json_writer.h. */
#include "json_writer.h"

#include "../http/buffer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 512, KEPT_CAP = 4096 };

/* So that doubling never goes beyond the maximum. */
_Static_assert(CRUX_JSON_MAX / FIRST_CAP * FIRST_CAP == CRUX_JSON_MAX &&
                   (CRUX_JSON_MAX / FIRST_CAP & (CRUX_JSON_MAX / FIRST_CAP - 1)) == 0,
               "CRUX_JSON_MAX is FIRST_CAP times a power of two");

/* Not by realloc, which would leave a copy of what was written in memory that nobody wipes. */
static bool grow(crux_json_writer *w, size_t size) {
  size_t cap = w->cap ? w->cap : FIRST_CAP;
  char *grown;
  while (cap < size) cap *= 2;
  grown = malloc(cap);
  if (!grown) return false;
  if (w->len > 0) memcpy(grown, w->data, w->len);
  if (w->data) crux_wipe(w->data, w->len);
  free(w->data);
  w->data = grown;
  w->cap = cap;
  return true;
}

static bool make_room(crux_json_writer *w, size_t more) {
  if (w->status != CRUX_JSON_OK) return false;
  if (more > CRUX_JSON_MAX - w->len) w->status = CRUX_JSON_FULL;
  else if (!grow(w, w->len + more)) w->status = CRUX_JSON_NOMEM;
  return w->status == CRUX_JSON_OK;
}

static inline bool reserve(crux_json_writer *w, size_t more) {
  return (w->status == CRUX_JSON_OK && more <= w->cap - w->len) || make_room(w, more);
}

void crux_json_put(crux_json_writer *w, const char *text, size_t len) {
  if (!reserve(w, len)) return;
  memcpy(w->data + w->len, text, len);
  w->len += len;
}

void crux_json_put_key(crux_json_writer *w, const char *name) {
  size_t len = strlen(name);
  char *end;
  if (!reserve(w, len + 4)) return;
  end = w->data + w->len;
  if (end[-1] != '{') *end++ = ',';
  *end++ = '"';
  memcpy(end, name, len);
  end += len;
  *end++ = '"';
  *end++ = ':';
  w->len = (size_t)(end - w->data);
}

/* The letter after the backslash, 'u' for a control character without one, 0 for none. */
static char escape_of(unsigned char c) {
  static const char escapes[32] = {
    ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r',
  };
  if (c == '"' || c == '\\') return (char)c;
  if (c >= 32) return 0;
  return escapes[c] ? escapes[c] : 'u';
}

void crux_json_put_string(crux_json_writer *w, const char *s, size_t len) {
  static const char digits[] = "0123456789abcdef";
  size_t plain = 0, i;
  crux_json_put(w, "\"", 1);
  for (i = 0; i < len; i++) {
    char escape = escape_of((unsigned char)s[i]);
    char text[6] = { '\\', escape, '0', '0', digits[(s[i] >> 4) & 15], digits[s[i] & 15] };
    if (!escape) continue;
    crux_json_put(w, s + plain, i - plain);
    crux_json_put(w, text, escape == 'u' ? 6 : 2);
    plain = i + 1;
  }
  crux_json_put(w, s + plain, len - plain);
  crux_json_put(w, "\"", 1);
}

/* The digits of a number in front of `end`, at least so many; where they begin. */
static char *digits_before(char *end, uint64_t value, int least) {
  for (; value > 0 || least > 0; value /= 10, least--) *--end = (char)('0' + value % 10);
  return end;
}

void crux_json_put_whole(crux_json_writer *w, double value) {
  char text[24], *end = text + sizeof text, *start = digits_before(end, (uint64_t)value, 1);
  crux_json_put(w, start, (size_t)(end - start));
}

void crux_json_put_cents(crux_json_writer *w, double cents) {
  char text[24], *end = text + sizeof text, *start = end;
  *--start = '"';
  start = digits_before(start, (uint64_t)cents % 100, 2);
  *--start = '.';
  start = digits_before(start, (uint64_t)cents / 100, 1);
  *--start = '"';
  crux_json_put(w, start, (size_t)(end - start));
}

void crux_json_clear(crux_json_writer *w) {
  if (w->cap > KEPT_CAP) crux_json_free(w);
  else if (w->len > 0) crux_wipe(w->data, w->len);
  w->len = 0;
  w->status = CRUX_JSON_OK;
}

void crux_json_free(crux_json_writer *w) {
  if (w->data) crux_wipe(w->data, w->len);
  free(w->data);
  memset(w, 0, sizeof *w);
}
