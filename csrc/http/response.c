/* response: see response.h. A line is parsed in place, in the input; only a line that arrives in
   pieces is copied first. Section numbers are those of RFC 9112 unless another RFC is named. */
#include "response.h"

#include <string.h>

/* The most memory that is allocated for Content-Length before the body arrives. */
#define RESERVE_MAX 65536

/* The most hexadecimal digits of a chunk's size: 60 bits. */
#define CHUNK_DIGITS 15

/* The longest Keep-Alive timeout in seconds: it fits into any long. */
#define TIMEOUT_MAX 999999999

/* Larger numbers are clamped to this. No body is as long, and ten times as much fits into 64
   bits. */
#define NUMBER_MAX ((uint64_t)1 << 60)

enum { /* crux_response.next */
  STATUS_LINE,     /* the status line */
  FIELD_LINE,      /* a field line, a continuation line or the empty line */
  SIZED_BODY,      /* a body with a Content-Length */
  UNSIZED_BODY,    /* a body that ends with the connection */
  CHUNK_SIZE,      /* digits of a chunk's size */
  CHUNK_BLANK,     /* blanks after it */
  CHUNK_EXTENSION, /* chunk extensions */
  CHUNK_SIZE_LF,   /* the LF that ends that line */
  CHUNK_DATA,      /* data of a chunk */
  CHUNK_DATA_CR,   /* the CR after it */
  CHUNK_DATA_LF,   /* the LF after that */
  TRAILER_START,   /* a trailer line, or the CR of the last line */
  TRAILER,         /* the rest of a trailer line */
  TRAILER_LF,      /* the LF that ends it */
  LAST_LF,         /* the LF of the last line */
  CHUNKS_END,      /* nothing: the last chunk and the trailers are complete */
  CHUNKS_BROKEN    /* nothing: the framing is malformed */
};

enum { /* crux_response_head.last_field */
  NO_FIELD, /* there was no field line yet */
  OTHER,    /* a field that the parser does not act on */
  CONNECTION, KEEP_ALIVE, TRANSFER_ENCODING, CONTENT_LENGTH
};

typedef struct {
  const char *at;
  size_t len;
} slice;

/* The characters of a token (RFC 9110 5.6.2), letters in lower case. NUL: not in a token. */
static const char LOWER[256] =
  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
  "\0!\0#$%&'\0\0*+\0-.\0" "0123456789\0\0\0\0\0\0"
  "\0abcdefghijklmnopqrstuvwxyz\0\0\0^_" "`abcdefghijklmnopqrstuvwxyz\0|\0~";

void crux_response_init(crux_response *r, size_t max_body) {
  memset(r, 0, sizeof *r);
  r->max_body = max_body;
  r->keep_alive_timeout = -1;
}

void crux_response_free(crux_response *r) {
  crux_buffer_free(&r->fields);
  crux_buffer_free(&r->body);
}

/* --- text --- */

static bool is_blank(char c) { return c == ' ' || c == '\t'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static slice trim(slice s) {
  while (s.len > 0 && is_blank(s.at[0])) s.at++, s.len--;
  while (s.len > 0 && is_blank(s.at[s.len - 1])) s.len--;
  return s;
}

/* `token` is in lower case. */
static bool is_token(slice s, const char *token) {
  size_t i = 0;
  while (i < s.len && token[i] && LOWER[(unsigned char)s.at[i]] == token[i]) i++;
  return i == s.len && !token[i];
}

/* False unless the text is one or more digits. */
static bool read_number(slice s, uint64_t *number) {
  size_t i;
  *number = 0;
  for (i = 0; i < s.len; i++) {
    if (!is_digit(s.at[i])) return false;
    *number = *number * 10 + (uint64_t)(s.at[i] - '0');
    if (*number > NUMBER_MAX) *number = NUMBER_MAX;
  }
  return s.len > 0;
}

/* Removes the first element, which may be empty, from a list (RFC 9110 5.6.1). False after the
   last. */
static bool next_element(slice *list, slice *element) {
  const char *comma;
  if (!list->at) return false;
  comma = memchr(list->at, ',', list->len);
  *element = trim((slice){list->at, comma ? (size_t)(comma - list->at) : list->len});
  list->len -= comma ? (size_t)(comma + 1 - list->at) : list->len;
  list->at = comma ? comma + 1 : NULL;
  return true;
}

/* --- the fields that the parser acts on --- */

/* RFC 9110 7.6.1 */
static void read_connection(crux_response *r, slice list) {
  slice option;
  while (next_element(&list, &option)) {
    if (is_token(option, "close")) r->close = true;
    if (is_token(option, "keep-alive")) r->head.keep_alive = true;
  }
}

/* RFC 2068 19.7.1.1 */
static void read_keep_alive(crux_response *r, slice list) {
  slice parameter;
  while (next_element(&list, &parameter)) {
    uint64_t seconds;
    if (parameter.len < 8 || parameter.at[7] != '=') continue;
    if (!is_token((slice){parameter.at, 7}, "timeout")) continue;
    if (!read_number((slice){parameter.at + 8, parameter.len - 8}, &seconds)) continue;
    r->keep_alive_timeout = (long)(seconds < TIMEOUT_MAX ? seconds : TIMEOUT_MAX);
  }
}

/* Whether digits are those of the first Content-Length. Leading zeros do not count. Digits are
   compared, not numbers, which are clamped. */
static bool is_same_length(const crux_response *r, slice digits) {
  return digits.len == r->head.length_len &&
         memcmp(digits.at, r->fields.data + r->head.length_at, digits.len) == 0;
}

/* RFC 9110 8.6: one number, or the same number several times. `list` is in `fields`. */
static bool read_length(crux_response *r, slice list) {
  slice digits;
  while (next_element(&list, &digits)) {
    uint64_t length;
    if (!read_number(digits, &length)) return false;
    while (digits.len > 1 && digits.at[0] == '0') digits.at++, digits.len--;
    if (r->head.has_length && !is_same_length(r, digits)) return false;
    r->head.has_length = true;
    r->head.length = length;
    r->head.length_at = (size_t)(digits.at - r->fields.data);
    r->head.length_len = digits.len;
  }
  return true;
}

/* 6.1. `identity` means no coding (RFC 2616 3.6). */
static void read_codings(crux_response *r, slice list) {
  slice coding;
  r->head.has_coding = true;
  while (next_element(&list, &coding)) {
    if (coding.len == 0 || is_token(coding, "identity")) continue;
    r->head.codings++;
    r->head.chunked = is_token(coding, "chunked");
  }
}

static int known_field(const char *name, size_t len) {
  if (len == 10 && memcmp(name, "connection", 10) == 0) return CONNECTION;
  if (len == 10 && memcmp(name, "keep-alive", 10) == 0) return KEEP_ALIVE;
  if (len == 14 && memcmp(name, "content-length", 14) == 0) return CONTENT_LENGTH;
  if (len == 17 && memcmp(name, "transfer-encoding", 17) == 0) return TRANSFER_ENCODING;
  return OTHER;
}

/* --- the head --- */

static void refuse(crux_response *r, crux_refusal refusal) {
  r->state = CRUX_RESPONSE_REFUSED;
  r->refusal = refusal;
  crux_buffer_clear(&r->fields);
  crux_buffer_clear(&r->body);
  r->field_count = 0;
}

/* 4. If there is no reason, the blank before it may be missing too. */
static void read_status_line(crux_response *r, const char *line, size_t len) {
  uint64_t status = 0;
  bool is_well_formed = len >= 12 && memcmp(line, "HTTP/1.", 7) == 0 && is_digit(line[7]) &&
                        line[8] == ' ' && read_number((slice){line + 9, 3}, &status) &&
                        (len == 12 || line[12] == ' ');
  /* 101 is a response to an Upgrade field (RFC 9110 7.8), which crux never sends. */
  if (!is_well_formed || status < 100 || status == 101) {
    refuse(r, CRUX_REFUSAL_STATUS_LINE);
    return;
  }
  r->head.status = (int)status;
  memcpy(r->version, line + 5, 3);
  r->next = FIELD_LINE;
}

/* Appends text and a NUL to the fields. The caller has reserved the memory. */
static void add_value(crux_buffer *b, slice value) {
  char *text = b->data + b->len;
  memcpy(text, value.at, value.len);
  text[value.len] = text[value.len + 1] = '\0';
  b->len += value.len + 1;
}

/* False if its value is malformed. */
static bool act_on_last_field(crux_response *r) {
  size_t at = r->head.last_value;
  slice value;
  if (r->head.last_field <= OTHER) return true;
  value = (slice){r->fields.data + at, r->fields.len - at - 1};
  switch (r->head.last_field) {
    case CONNECTION: read_connection(r, value); return true;
    case KEEP_ALIVE: read_keep_alive(r, value); return true;
    case TRANSFER_ENCODING: read_codings(r, value); return true;
    default: return read_length(r, value);
  }
}

/* Copies a token, letters in lower case, and returns its length. It stops at the latest at the
   line's LF, which is in no token. */
static size_t copy_name(char *to, const char *from) {
  size_t i = 0;
  while ((to[i] = LOWER[(unsigned char)from[i]]) != '\0') i++;
  return i;
}

/* 5.1: there is no blank before the colon. */
static void read_field(crux_response *r, const char *line, size_t len) {
  crux_buffer *b = &r->fields;
  size_t name_len;
  if (!crux_buffer_reserve(b, b->len + len + 1)) {
    refuse(r, CRUX_REFUSAL_NOMEM);
    return;
  }
  name_len = copy_name(b->data + b->len, line);
  if (name_len == 0 || line[name_len] != ':') {
    refuse(r, CRUX_REFUSAL_FIELD);
    return;
  }
  r->field_count++;
  r->head.last_field = known_field(b->data + b->len, name_len);
  r->head.last_value = b->len += name_len + 1;
  add_value(b, trim((slice){line + name_len + 1, len - name_len - 1}));
}

/* 5.2: obs-fold, which recipients parse in different ways. It is refused in the fields that say
   where the body ends. In the field Connection it closes the connection. */
static void read_continuation(crux_response *r, const char *line, size_t len) {
  crux_buffer *b = &r->fields;
  slice more = trim((slice){line, len});
  int field = r->head.last_field;
  if (field == NO_FIELD || field == CONTENT_LENGTH || field == TRANSFER_ENCODING) {
    refuse(r, CRUX_REFUSAL_FIELD);
    return;
  }
  if (field == CONNECTION) r->close = true;
  if (more.len == 0) return;
  if (!crux_buffer_reserve(b, b->len + more.len + 1)) {
    refuse(r, CRUX_REFUSAL_NOMEM);
    return;
  }
  b->data[b->len - 1] = ' ';
  if (b->len - 1 == r->head.last_value) b->len--; /* the value is empty so far */
  add_value(b, more);
}

/* 6.1: a sender of HTTP/1.0 does not know Transfer-Encoding, so its `chunked` does not count. */
static bool is_chunked(const crux_response *r) { return r->head.chunked && r->version[2] != '0'; }

/* True if the body has codings besides the chunked framing. */
static bool is_coded(const crux_response *r) { return r->head.codings > is_chunked(r); }

/* 6.3: how the end of the body is found. */
static int body_framing(const crux_response *r) {
  if (r->head.codings > 0) return is_chunked(r) ? CHUNK_SIZE : UNSIZED_BODY;
  return r->head.has_length ? SIZED_BODY : UNSIZED_BODY;
}

static void complete(crux_response *r, crux_body_end end) {
  r->state = CRUX_RESPONSE_COMPLETE;
  r->body_end = end;
  if (end != CRUX_BODY_WHOLE) r->persistent = false;
}

/* The body has ended as its framing says. */
static void complete_body(crux_response *r) {
  complete(r, is_coded(r) ? CRUX_BODY_CODED : CRUX_BODY_WHOLE);
}

/* 9.3 says when the connection persists. 6.3 demands that it be closed if there is both a length
   and a coding. */
static bool is_persistent(const crux_response *r) {
  const crux_response_head *h = &r->head;
  if (r->close || (r->version[2] == '0' && !h->keep_alive)) return false;
  return !(h->has_length && h->has_coding) && !is_coded(r);
}

static void begin_body(crux_response *r) {
  size_t reserve = r->max_body < RESERVE_MAX ? r->max_body : RESERVE_MAX;
  r->state = CRUX_RESPONSE_BODY;
  r->status = r->head.status;
  r->persistent = is_persistent(r);
  r->next = body_framing(r);
  if (r->status == 204 || r->status == 304 || (r->next == SIZED_BODY && r->head.length == 0)) {
    complete(r, CRUX_BODY_WHOLE);
  } else if (r->next == UNSIZED_BODY) {
    r->persistent = false;
  } else if (r->next == SIZED_BODY) {
    r->remaining = r->head.length;
    if (r->remaining < reserve) reserve = (size_t)r->remaining;
    if (!crux_buffer_reserve(&r->body, reserve)) complete(r, CRUX_BODY_NOMEM);
  }
}

static void end_head(crux_response *r) {
  if (r->head.status >= 200) {
    begin_body(r);
    return;
  }
  /* RFC 9110 15.2: an interim response. */
  crux_buffer_clear(&r->fields);
  r->field_count = 0;
  r->keep_alive_timeout = -1;
  memset(&r->head, 0, sizeof r->head);
  r->next = STATUS_LINE;
}

static void refuse_line(crux_response *r) {
  refuse(r, r->next == STATUS_LINE ? CRUX_REFUSAL_STATUS_LINE : CRUX_REFUSAL_FIELD);
}

/* 2.2: a line ends with CRLF or LF. */
static void read_line(crux_response *r, const char *line, size_t len) {
  const char *cr = memchr(line, '\r', len);
  if (cr) len--;
  if (cr && cr != line + len) refuse_line(r); /* some recipients end the line at a bare CR */
  else if (r->next == STATUS_LINE) read_status_line(r, line, len);
  else if (len > 0 && is_blank(line[0])) read_continuation(r, line, len);
  else if (!act_on_last_field(r)) refuse(r, CRUX_REFUSAL_LENGTH); /* no continuation follows */
  else if (len > 0) read_field(r, line, len);
  else end_head(r);
}

/* Appends to the copy of an incomplete line. False: it was refused. */
static bool keep(crux_response *r, const char *data, size_t len) {
  if (crux_buffer_add(&r->body, data, len, CRUX_HEAD_MAX) == CRUX_BUFFER_OK) return true;
  refuse(r, CRUX_REFUSAL_NOMEM);
  return false;
}

static void end_line(crux_response *r, const char *data, size_t len) {
  if (r->body.len == 0) {
    read_line(r, data, len);
  } else if (keep(r, data, len)) {
    read_line(r, r->body.data, r->body.len);
    crux_buffer_clear(&r->body);
  }
}

static bool may_be_http(crux_buffer line) {
  return memcmp(line.data, "HTTP/1.", line.len < 7 ? line.len : 7) == 0;
}

static size_t feed_head(crux_response *r, const char *data, size_t len) {
  size_t left = CRUX_HEAD_MAX - r->head_len, seen = len < left ? len : left;
  const char *at = data, *end = data + seen, *lf;
  const char *nul = memchr(data, '\0', seen); /* RFC 9110 5.5: invalid and dangerous */
  while (r->state == CRUX_RESPONSE_HEAD && (lf = memchr(at, '\n', (size_t)(end - at)))) {
    if (nul && nul < lf) refuse_line(r);
    else end_line(r, at, (size_t)(lf - at));
    at = lf + 1;
  }
  if (r->state != CRUX_RESPONSE_HEAD) return (size_t)(at - data);
  r->head_len += seen;
  if (!keep(r, at, (size_t)(end - at))) return seen;
  /* An incomplete line is checked too: a server of another protocol may wait for the client now. */
  if (nul || (r->next == STATUS_LINE && !may_be_http(r->body))) refuse_line(r);
  else if (seen < len) refuse(r, CRUX_REFUSAL_TOO_LONG);
  return seen;
}

/* --- the body --- */

static size_t add_body(crux_response *r, const char *data, size_t len) {
  size_t before = r->body.len;
  crux_buffer_status status = crux_buffer_add(&r->body, data, len, r->max_body);
  if (status == CRUX_BUFFER_FULL) complete(r, CRUX_BODY_LIMIT);
  if (status == CRUX_BUFFER_NOMEM) complete(r, CRUX_BODY_NOMEM);
  return r->body.len - before;
}

static size_t feed_sized(crux_response *r, const char *data, size_t len) {
  size_t taken = add_body(r, data, len < r->remaining ? len : (size_t)r->remaining);
  r->remaining -= taken;
  return taken;
}

static int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* Chunk extensions and trailers are discarded. Their bytes up to CRLF are only counted. */
static int skip(crux_response *r, char c, int same, int after_cr) {
  if (c == '\r') return after_cr;
  return c == '\n' || c == '\0' || ++r->skipped > CRUX_HEAD_MAX ? CHUNKS_BROKEN : same;
}

static int after_size(crux_response *r, char c) {
  if (!is_blank(c) && c != ';' && c != '\r') return CHUNKS_BROKEN;
  return skip(r, c, c == ';' ? CHUNK_EXTENSION : CHUNK_BLANK, CHUNK_SIZE_LF);
}

/* 7.1: what the byte after this byte of the framing belongs to. */
static int after_framing(crux_response *r, char c) {
  int digit = hex_value(c);
  switch (r->next) {
    case CHUNK_SIZE:
      if (digit >= 0 && r->chunk_digits++ < CHUNK_DIGITS) {
        r->remaining = r->remaining * 16 + (uint64_t)digit;
        return CHUNK_SIZE;
      }
      return r->chunk_digits > 0 ? after_size(r, c) : CHUNKS_BROKEN;
    case CHUNK_BLANK: return after_size(r, c);
    case CHUNK_EXTENSION: return skip(r, c, CHUNK_EXTENSION, CHUNK_SIZE_LF);
    case CHUNK_SIZE_LF:
      if (c != '\n') return CHUNKS_BROKEN;
      r->chunk_digits = 0;
      return r->remaining > 0 ? CHUNK_DATA : TRAILER_START;
    case CHUNK_DATA_CR: return c == '\r' ? CHUNK_DATA_LF : CHUNKS_BROKEN;
    case CHUNK_DATA_LF: return c == '\n' ? CHUNK_SIZE : CHUNKS_BROKEN;
    case TRAILER_START: return skip(r, c, TRAILER, LAST_LF);
    case TRAILER: return skip(r, c, TRAILER, TRAILER_LF);
    case TRAILER_LF: return c == '\n' ? TRAILER_START : CHUNKS_BROKEN;
    default: return c == '\n' ? CHUNKS_END : CHUNKS_BROKEN; /* LAST_LF */
  }
}

/* Parses data of one chunk, or the framing up to the next. */
static size_t feed_chunk(crux_response *r, const char *data, size_t len) {
  size_t taken = 0;
  if (r->next == CHUNK_DATA) {
    taken = feed_sized(r, data, len);
    if (r->remaining == 0) r->next = CHUNK_DATA_CR;
    return taken;
  }
  while (taken < len && r->next != CHUNK_DATA && r->state == CRUX_RESPONSE_BODY) {
    r->next = after_framing(r, data[taken++]);
    if (r->next == CHUNKS_BROKEN) complete(r, CRUX_BODY_BROKEN);
    if (r->next == CHUNKS_END) complete_body(r);
  }
  return taken;
}

static size_t feed_body(crux_response *r, const char *data, size_t len) {
  size_t taken;
  if (r->next == UNSIZED_BODY) return add_body(r, data, len);
  if (r->next != SIZED_BODY) return feed_chunk(r, data, len);
  taken = feed_sized(r, data, len);
  if (r->remaining == 0) complete(r, CRUX_BODY_WHOLE);
  return taken;
}

size_t crux_response_feed(crux_response *r, const char *data, size_t len) {
  size_t taken = 0;
  if (r->state == CRUX_RESPONSE_HEAD && len > 0) taken = feed_head(r, data, len);
  while (taken < len && r->state == CRUX_RESPONSE_BODY)
    taken += feed_body(r, data + taken, len - taken);
  if (taken < len) r->persistent = false;
  return taken;
}

void crux_response_end(crux_response *r) {
  if (r->state == CRUX_RESPONSE_HEAD) refuse(r, CRUX_REFUSAL_CUT);
  else if (r->state == CRUX_RESPONSE_BODY && r->next == UNSIZED_BODY) complete_body(r);
  else if (r->state == CRUX_RESPONSE_BODY) complete(r, CRUX_BODY_CUT);
  r->persistent = false;
}
