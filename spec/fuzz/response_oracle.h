/* oracle: the rules of csrc/http/response.c a second time, slow and plain, for its fuzzer. It
   sees all bytes at once, copies each line, and interprets the fields once the head is whole. It
   shares no code with the parser. */
#ifndef CRUX_RESPONSE_ORACLE_H
#define CRUX_RESPONSE_ORACLE_H

#include "http/response.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define TOKEN LETTERS DIGITS "!#$%&'*+-.^_`|~"

typedef struct {
  const char *data; /* all of the input */
  size_t len, at, max_body;
  crux_refusal refusal;
  int status;
  char version[4];
  char *fields; /* as those of crux_response */
  size_t fields_len, last_value;
  const char *last_name;
  bool close;
  size_t skipped;
  char *body;
  size_t body_len;
  crux_body_end end;
  bool persistent, awaits_end;
  long keep_alive;
} oracle;

static char oracle_line[CRUX_HEAD_MAX + 1];

static bool oracle_refuse(oracle *o, crux_refusal refusal) {
  o->refusal = refusal;
  o->fields_len = 0;
  return false;
}

/* Copies the next line without its end to oracle_line. */
static bool oracle_next_line(oracle *o, crux_refusal malformed) {
  size_t limit = o->len < CRUX_HEAD_MAX ? o->len : CRUX_HEAD_MAX, end = o->at, n;
  while (end < limit && o->data[end] != '\n') end++;
  n = end - o->at;
  memcpy(oracle_line, o->data + o->at, n);
  oracle_line[n] = '\0';
  if (strlen(oracle_line) < n) return oracle_refuse(o, malformed);
  if (end == limit) {
    bool is_first = malformed == CRUX_REFUSAL_STATUS_LINE;
    if (is_first && strncmp(oracle_line, "HTTP/1.", n < 7 ? n : 7) != 0)
      return oracle_refuse(o, malformed);
    o->awaits_end = o->len <= CRUX_HEAD_MAX;
    return oracle_refuse(o, o->awaits_end ? CRUX_REFUSAL_CUT : CRUX_REFUSAL_TOO_LONG);
  }
  o->at = end + 1;
  if (n > 0 && oracle_line[n - 1] == '\r') oracle_line[n - 1] = '\0';
  return !strchr(oracle_line, '\r') || oracle_refuse(o, malformed);
}

static char *oracle_trim(char *text) {
  size_t n;
  text += strspn(text, " \t");
  n = strlen(text);
  while (n > 0 && strchr(" \t", text[n - 1])) text[--n] = '\0';
  return text;
}

static bool oracle_status_line(oracle *o) {
  const char *l = oracle_line;
  if (!oracle_next_line(o, CRUX_REFUSAL_STATUS_LINE)) return false;
  if (strncmp(l, "HTTP/1.", 7) != 0 || strspn(l + 7, DIGITS) != 1 || l[8] != ' ' ||
      strspn(l + 9, DIGITS) != 3 || !strchr(" ", l[12]) || l[9] == '0' || atoi(l + 9) == 101)
    return oracle_refuse(o, CRUX_REFUSAL_STATUS_LINE);
  memcpy(o->version, l + 5, 3);
  o->status = atoi(l + 9);
  return true;
}

/* The values of all fields of a name, with commas in between; NULL if there is none. */
static char *oracle_list(const oracle *o, const char *name) {
  static char list[CRUX_HEAD_MAX + 2];
  const char *at = o->fields, *value;
  char *end = list;
  for (; at < o->fields + o->fields_len; at = value + strlen(value) + 1) {
    value = at + strlen(at) + 1;
    if (strcmp(at, name) == 0) end = stpcpy(stpcpy(end, ","), value);
  }
  return end > list ? list + 1 : NULL;
}

static bool oracle_number(const char *text, uint64_t *number) {
  *number = strtoull(text, NULL, 10);
  if (*number > (uint64_t)1 << 60) *number = (uint64_t)1 << 60;
  return *text && strspn(text, DIGITS) == strlen(text);
}

/* False if there are several or none that is a number. Numbers of any size are told apart. */
static bool oracle_length(const oracle *o, uint64_t *length) {
  char *list = oracle_list(o, "content-length"), *element = strsep(&list, ",");
  char *first = oracle_trim(element);
  uint64_t other;
  if (!oracle_number(first, length)) return false;
  while ((element = strsep(&list, ","))) {
    element = oracle_trim(element);
    if (!oracle_number(element, &other)) return false;
    if (strcmp(element + strspn(element, "0"), first + strspn(first, "0")) != 0) return false;
  }
  return true;
}

static bool oracle_continuation(oracle *o) {
  const char *name = o->last_name;
  char *end = o->fields + o->fields_len, *more = oracle_trim(oracle_line);
  if (!name || strcmp(name, "content-length") == 0 || strcmp(name, "transfer-encoding") == 0)
    return oracle_refuse(o, CRUX_REFUSAL_FIELD);
  if (strcmp(name, "connection") == 0) o->close = true;
  if (!*more) return true;
  end = o->fields[o->last_value] ? stpcpy(end - 1, " ") : end - 1;
  o->fields_len = (size_t)(stpcpy(end, more) + 1 - o->fields);
  return true;
}

static bool oracle_field(oracle *o) {
  size_t n = strspn(oracle_line, TOKEN), i;
  char *name = o->fields + o->fields_len, *value;
  if (n == 0 || oracle_line[n] != ':') return oracle_refuse(o, CRUX_REFUSAL_FIELD);
  for (i = 0; i < n; i++) name[i] = (char)tolower(oracle_line[i]);
  name[n] = '\0';
  value = stpcpy(name + n + 1, oracle_trim(oracle_line + n + 1));
  o->last_name = name;
  o->last_value = (size_t)(name + n + 1 - o->fields);
  o->fields_len = (size_t)(value + 1 - o->fields);
  return true;
}

static bool oracle_fields(oracle *o) {
  o->fields_len = 0;
  o->last_name = NULL;
  for (;;) {
    uint64_t length;
    if (!oracle_next_line(o, CRUX_REFUSAL_FIELD)) return false;
    if (*oracle_line && strchr(" \t", *oracle_line)) {
      if (!oracle_continuation(o)) return false;
      continue;
    }
    if (o->last_name && strcmp(o->last_name, "content-length") == 0 && !oracle_length(o, &length))
      return oracle_refuse(o, CRUX_REFUSAL_LENGTH);
    if (!*oracle_line) return true;
    if (!oracle_field(o)) return false;
  }
}

static bool oracle_lists(const oracle *o, const char *name, const char *option) {
  char *list = oracle_list(o, name), *element;
  while ((element = strsep(&list, ",")))
    if (strcasecmp(oracle_trim(element), option) == 0) return true;
  return false;
}

static long oracle_timeout(const oracle *o) {
  char *list = oracle_list(o, "keep-alive"), *element;
  long timeout = -1;
  uint64_t seconds;
  while ((element = strsep(&list, ","))) {
    element = oracle_trim(element);
    if (strncasecmp(element, "timeout=", 8) == 0 && oracle_number(element + 8, &seconds))
      timeout = seconds < 999999999 ? (long)seconds : 999999999;
  }
  return timeout;
}

static int oracle_get(oracle *o) {
  return o->at < o->len ? (unsigned char)o->data[o->at++] : -1;
}

static crux_body_end oracle_take(oracle *o, uint64_t n) {
  for (; n > 0; n--) {
    if (o->at == o->len) return CRUX_BODY_CUT;
    if (o->body_len == o->max_body) return CRUX_BODY_LIMIT;
    o->body[o->body_len++] = (char)oracle_get(o);
  }
  return CRUX_BODY_WHOLE;
}

static crux_body_end oracle_expect(oracle *o, int c) {
  int found = oracle_get(o);
  return found == c ? CRUX_BODY_WHOLE : found < 0 ? CRUX_BODY_CUT : CRUX_BODY_BROKEN;
}

/* Skips a line of which `c` is the next byte. */
static crux_body_end oracle_skip(oracle *o, int c) {
  for (; c != '\r'; c = oracle_get(o)) {
    if (c < 0) return CRUX_BODY_CUT;
    if (c == '\n' || c == '\0' || ++o->skipped > CRUX_HEAD_MAX) return CRUX_BODY_BROKEN;
  }
  return oracle_expect(o, '\n');
}

static crux_body_end oracle_chunk_size(oracle *o, uint64_t *size) {
  char digits[16] = "";
  int c, n = 0;
  for (; (c = oracle_get(o)) >= 0 && isxdigit(c); digits[n++] = (char)c)
    if (n == 15) return CRUX_BODY_BROKEN;
  *size = strtoull(digits, NULL, 16);
  if (c < 0) return CRUX_BODY_CUT;
  if (n == 0) return CRUX_BODY_BROKEN;
  for (; c == ' ' || c == '\t'; c = oracle_get(o))
    if (++o->skipped > CRUX_HEAD_MAX) return CRUX_BODY_BROKEN;
  if (c < 0) return CRUX_BODY_CUT;
  return c == ';' || c == '\r' ? oracle_skip(o, c) : CRUX_BODY_BROKEN;
}

static crux_body_end oracle_chunks(oracle *o) {
  crux_body_end end;
  uint64_t size;
  int c;
  for (;;) {
    if ((end = oracle_chunk_size(o, &size)) != CRUX_BODY_WHOLE) return end;
    if (size == 0) break;
    if ((end = oracle_take(o, size)) != CRUX_BODY_WHOLE) return end;
    if ((end = oracle_expect(o, '\r')) != CRUX_BODY_WHOLE) return end;
    if ((end = oracle_expect(o, '\n')) != CRUX_BODY_WHOLE) return end;
  }
  while ((c = oracle_get(o)) != '\r')
    if ((end = oracle_skip(o, c)) != CRUX_BODY_WHOLE) return end;
  return oracle_expect(o, '\n');
}

static void oracle_body(oracle *o) {
  char *list = oracle_list(o, "transfer-encoding"), *coding;
  bool has_coding = list, has_length = oracle_list(o, "content-length"), chunked = false;
  bool is_1_0 = strcmp(o->version, "1.0") == 0, is_open = false;
  unsigned codings = 0;
  uint64_t length = 0;
  list = oracle_list(o, "transfer-encoding");
  while ((coding = strsep(&list, ","))) {
    coding = oracle_trim(coding);
    if (!*coding || strcasecmp(coding, "identity") == 0) continue;
    codings++;
    chunked = strcasecmp(coding, "chunked") == 0 && !is_1_0;
  }
  if (has_length) oracle_length(o, &length);
  if (o->status == 204 || o->status == 304) o->end = CRUX_BODY_WHOLE;
  else if (chunked) o->end = oracle_chunks(o);
  else if (codings == 0 && has_length) o->end = oracle_take(o, length);
  else is_open = (o->end = oracle_take(o, UINT64_MAX)) == CRUX_BODY_CUT;
  o->awaits_end = o->end == CRUX_BODY_CUT;
  if (is_open) o->end = CRUX_BODY_WHOLE;
  o->persistent = o->end == CRUX_BODY_WHOLE && !is_open && o->at == o->len && !o->close &&
                  (!is_1_0 || oracle_lists(o, "connection", "keep-alive")) &&
                  !(has_coding && has_length) && codings <= chunked;
  if (o->end == CRUX_BODY_WHOLE && codings > chunked && o->status != 204 && o->status != 304)
    o->end = CRUX_BODY_CODED;
}

static void oracle_judge(oracle *o, const char *data, size_t len, size_t max_body) {
  static char fields[CRUX_HEAD_MAX + 2], body[CRUX_HEAD_MAX];
  memset(o, 0, sizeof *o);
  o->fields = fields;
  o->body = body;
  o->data = data;
  o->len = len;
  o->max_body = max_body;
  o->keep_alive = -1;
  do {
    if (!oracle_status_line(o) || !oracle_fields(o)) return;
    if (oracle_lists(o, "connection", "close")) o->close = true;
  } while (o->status < 200);
  o->keep_alive = oracle_timeout(o);
  oracle_body(o);
}

#endif
