/* transfer: see transfer.h. A request is sent from one buffer, with one offset that only grows, in
   one function, send_piece. Therefore it is on the wire at most once. */
#include "transfer.h"

#include "../os/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The most bytes that are offered to curl_easy_send at a time: a TLS record holds no more. */
#define PIECE 16384

/* The bytes that one attempt sends and receives before the others have their turn. */
#define TURN (64 * 1024)

static const char AUTHORIZATION[] = "Authorization: Token ";

static void write_wire(crux_transfer *t, const char *token, const char *headers) {
  const crux_request *r = t->request;
  char *end = t->wire;
  memcpy(end, r->head, r->head_len);
  end += r->head_len;
  if (headers) end = stpcpy(end, headers);
  if (token) {
    end = stpcpy(end, AUTHORIZATION);
    t->token_at = (size_t)(end - t->wire);
    t->token_len = strlen(token);
    end = stpcpy(stpcpy(end, token), "\r\n");
  }
  end = stpcpy(end, "\r\n");
  t->head_len = (size_t)(end - t->wire);
  if (r->body_len > 0) memcpy(end, r->body, r->body_len);
  t->wire_len = t->head_len + r->body_len;
}

crux_transfer *crux_transfer_new(crux_request *request, const char *token, const char *headers,
                                 double deadline, double connect_timeout) {
  size_t size = request->head_len + sizeof AUTHORIZATION + (token ? strlen(token) : 0) +
                sizeof "\r\n\r\n" + request->body_len;
  crux_transfer *t;
  if (!headers) headers = request->config->settings.headers;
  if (headers) size += strlen(headers);
  t = malloc(sizeof *t + size);
  if (!t) return NULL;
  memset(t, 0, sizeof *t);
  atomic_init(&t->refs, 1);
  t->request = crux_request_retain(request);
  t->started = crux_now();
  t->deadline = deadline;
  t->connect_timeout = connect_timeout;
  crux_response_init(&t->reply.response, request->config->settings.max_body);
  write_wire(t, token, headers);
  return t;
}

crux_transfer *crux_transfer_retain(crux_transfer *t) {
  atomic_fetch_add(&t->refs, 1);
  return t;
}

void crux_transfer_release(crux_transfer *t) {
  if (!t || atomic_fetch_sub(&t->refs, 1) != 1) return;
  crux_wipe(t->wire, t->wire_len);
  if (t->inbox.release_owner) t->inbox.release_owner(t->inbox.owner);
  crux_request_release(t->request);
  crux_response_free(&t->reply.response);
  free(t->reply.error);
  free(t);
}

bool crux_transfer_abort(crux_transfer *t) {
  int waiting = CRUX_STAGE_WAITING;
  return atomic_compare_exchange_strong(&t->stage, &waiting, CRUX_STAGE_ABORTED) ||
         waiting == CRUX_STAGE_ABORTED;
}

crux_cause crux_transfer_check_start(const crux_transfer *t) {
  if (atomic_load(&t->stage) == CRUX_STAGE_ABORTED) return CRUX_CAUSE_ABORTED;
  return t->deadline <= crux_now() ? CRUX_CAUSE_EXPIRED : CRUX_CAUSE_NONE;
}

/* --- receiving --- */

static bool nothing_received(const crux_transfer *t) { return t->reply.time.first_byte == 0; }

/* Copies libcurl's message. It is allocated, since few attempts have one; without memory there is
   none. */
static void copy_error(crux_reply *r, const crux_connection *c) {
  free(r->error);
  r->error = c->error[0] ? strdup(c->error) : NULL;
}

/* The connection broke. libcurl has no code for a TLS alert that the peer sent, only a message. */
static void record_error(crux_transfer *t) {
  const crux_connection *c = t->exchange.connection;
  t->reply.code = c->code;
  copy_error(&t->reply, c);
  if (c->tls && strstr(c->error, "alert")) t->reply.cause = CRUX_CAUSE_ALERT;
}

static crux_cause cause_of(crux_refusal refusal) {
  switch (refusal) {
    case CRUX_REFUSAL_TOO_LONG: return CRUX_CAUSE_HEAD_LIMIT;
    case CRUX_REFUSAL_CUT: return CRUX_CAUSE_HEAD_CUT;
    case CRUX_REFUSAL_NOMEM: return CRUX_CAUSE_NOMEM;
    default: return CRUX_CAUSE_MALFORMED;
  }
}

/* Ends the response with the connection: the peer has closed its side, or the connection broke. */
static void end_response(crux_transfer *t, bool broken) {
  crux_response *r = &t->reply.response;
  bool in_body;
  if (broken) record_error(t);
  r->persistent = false;
  if (nothing_received(t)) {
    if (!broken) t->reply.code = CURLE_GOT_NOTHING;
    return;
  }
  in_body = r->state == CRUX_RESPONSE_BODY;
  crux_response_end(r);
  if (broken) {
    /* a body without a length ends with the connection, but not if the connection broke */
    if (in_body && r->body_end == CRUX_BODY_WHOLE) r->body_end = CRUX_BODY_CUT;
    return;
  }
  if (r->state == CRUX_RESPONSE_REFUSED) t->reply.cause = cause_of(r->refusal);
  else if (r->body_end == CRUX_BODY_CUT) t->reply.code = CURLE_PARTIAL_FILE;
}

/* A response head that arrives before the peer has acknowledged a byte of the request is
   unsolicited. The kernel is asked when the bytes are readable and before they are read, since an
   acknowledgement may follow them. SIOCOUTQ counts TLS overhead too. That is safe: a peer cannot
   parse the request before it has a whole TLS record, which is longer than the overhead of all
   records. SIOCOUTQ is 0 if the bytes bypassed TCP (sockmap, MPTCP, SMC): then the response is
   accepted. */
static void check_acknowledged(crux_transfer *t) {
  long long outstanding = crux_connection_unacknowledged(t->exchange.connection);
  t->exchange.acknowledged = outstanding < 0 || (size_t)outstanding < t->reply.bytes_sent;
}

/* The first bytes of a response were read. False: they are unsolicited. On a fresh TLS connection
   the readable bytes may have been session tickets, and the response may have arrived while they
   were read. So the kernel is asked again. */
static bool accept_first_bytes(crux_transfer *t) {
  const crux_connection *c = t->exchange.connection;
  if (!t->exchange.acknowledged && c->tls && !c->reused) check_acknowledged(t);
  if (t->exchange.acknowledged) t->reply.time.first_byte = crux_now() - t->started;
  else t->reply.cause = CRUX_CAUSE_UNSOLICITED;
  return t->exchange.acknowledged;
}

/* Parses bytes of a response. True: the attempt is done. */
static bool parse(crux_transfer *t, const char *data, size_t len) {
  crux_response *r = &t->reply.response;
  if (nothing_received(t) && !accept_first_bytes(t)) return true;
  crux_response_feed(r, data, len);
  if (r->state == CRUX_RESPONSE_REFUSED) t->reply.cause = cause_of(r->refusal);
  if (r->state >= CRUX_RESPONSE_COMPLETE) return true;
  /* RFC 9112 9.5, RFC 9110 10.1.1: a final response makes the rest of the request pointless */
  if (r->state == CRUX_RESPONSE_BODY && (r->status > 299 || !r->persistent) &&
      t->exchange.upload == CRUX_UPLOAD_RUNNING)
    t->exchange.upload = CRUX_UPLOAD_STOPPED;
  return false;
}

/* Receives once. True: the attempt is done. Else *got is the number of bytes, 0 if none is
   there. */
static bool receive(crux_transfer *t, bool readable, char *buffer, size_t size, size_t *got) {
  crux_connection *c = t->exchange.connection;
  crux_io io;
  *got = 0;
  if (!t->exchange.acknowledged) {
    if (!readable && !crux_connection_is_readable(c)) return false;
    check_acknowledged(t);
  }
  io = crux_connection_receive(c, buffer, size, got);
  switch (io) {
    case CRUX_IO_OK: return parse(t, buffer, *got);
    case CRUX_IO_AGAIN: return false;
    default: end_response(t, io == CRUX_IO_ERROR); return true;
  }
}

/* --- sending --- */

static bool has_more_to_send(const crux_transfer *t) {
  return t->exchange.sent < t->wire_len && t->exchange.upload == CRUX_UPLOAD_RUNNING;
}

static void count_sent(crux_transfer *t, size_t bytes) {
  if (bytes > t->reply.bytes_sent) t->reply.bytes_sent = bytes;
  if (bytes > 0) t->reply.sends = 1;
}

/* Over TLS, "0 bytes sent" is exact only until the first CRUX_IO_AGAIN or error. From then on a
   part of the record may have been sent, and GnuTLS sends the rest when it closes the
   connection. */
static crux_io send_piece(crux_transfer *t) {
  crux_connection *c = t->exchange.connection;
  size_t at = t->exchange.sent, left = t->wire_len - at, sent;
  size_t piece = t->exchange.piece ? t->exchange.piece : left < PIECE ? left : PIECE;
  crux_io io = crux_connection_send(c, t->wire + at, piece, &sent);
  t->exchange.piece = io == CRUX_IO_AGAIN ? piece : 0;
  t->exchange.sent = at + sent;
  count_sent(t, io != CRUX_IO_OK && c->tls ? at + sent + piece : at + sent);
  return io;
}

/* Sends once. False: nothing more can be done now, and *step says what the attempt needs. */
static bool send_some(crux_transfer *t, crux_step *step) {
  switch (send_piece(t)) {
    case CRUX_IO_OK: *step = CRUX_STEP_READ; return has_more_to_send(t);
    case CRUX_IO_AGAIN: *step = CRUX_STEP_WRITE; return false;
    default:
      *step = CRUX_STEP_UNUSED;
      if (t->reply.sends == 0) return false;
      t->exchange.upload = CRUX_UPLOAD_FAILED; /* the peer may have responded before that */
      return true;
  }
}

crux_step crux_transfer_advance(crux_transfer *t, bool readable, char *buffer, size_t size) {
  size_t moved = 0, got;
  crux_step step;
  for (; moved < TURN; readable = false) {
    /* before the first byte is sent, the probe has read already */
    if (!has_more_to_send(t) || t->exchange.sent > 0 || t->exchange.piece > 0) {
      if (receive(t, readable, buffer, size, &got)) return CRUX_STEP_DONE;
      moved += got;
      if (got > 0) continue;
      if (t->exchange.upload == CRUX_UPLOAD_FAILED) {
        end_response(t, true);
        return CRUX_STEP_DONE;
      }
      if (!has_more_to_send(t)) return CRUX_STEP_READ;
    }
    if (!send_some(t, &step)) return step;
    moved += PIECE;
  }
  return CRUX_STEP_READY;
}

/* --- without a connection --- */

void crux_transfer_sent_all(crux_transfer *t) {
  atomic_store(&t->stage, CRUX_STAGE_SENT);
  t->exchange.sent = t->wire_len;
  count_sent(t, t->wire_len);
}

void crux_transfer_received_all(crux_transfer *t, const char *data, size_t len) {
  t->exchange.acknowledged = true;
  /* first_byte is more than 0 once a byte was received, however coarse the clock is */
  t->started -= 1;
  if (len == 0 || !parse(t, data, len)) end_response(t, false);
}

/* --- before and after --- */

void crux_transfer_probe_failed(crux_transfer *t, crux_io found) {
  crux_reply *r = &t->reply;
  if (found == CRUX_IO_OK) r->cause = CRUX_CAUSE_UNSOLICITED;
  else if (found == CRUX_IO_END) r->code = CURLE_GOT_NOTHING;
  else {
    record_error(t);
    /* in TLS 1.3 a server refuses a client's certificate, or its absence, after the handshake */
    if (t->exchange.connection->tls && r->code != CURLE_OUT_OF_MEMORY) r->cause = CRUX_CAUSE_ALERT;
  }
}

static double seconds_at(CURL *curl, CURLINFO info) {
  curl_off_t microseconds = 0;
  curl_easy_getinfo(curl, info, &microseconds);
  return (double)microseconds / 1e6;
}

/* libcurl does not tell whether no_proxy excluded the proxy. The port of the last socket does,
   unless proxy and origin have the same port. */
static bool is_direct(const crux_connection *c) {
  const crux_config *config = c->profile->config;
  return config->settings.no_proxy && c->port == crux_config_port(config);
}

void crux_transfer_connected(crux_transfer *t, CURLcode code) {
  const crux_connection *c = t->exchange.connection;
  crux_reply *r = &t->reply;
  double dns = seconds_at(c->curl, CURLINFO_NAMELOOKUP_TIME_T);
  double connect = seconds_at(c->curl, CURLINFO_CONNECT_TIME_T);
  double tls = seconds_at(c->curl, CURLINFO_APPCONNECT_TIME_T);
  long number = 0;
  r->time.dns = dns;
  if (connect > dns) r->time.connect = connect - dns;
  if (tls > connect) r->time.tls = tls - connect;
  r->code = code;
  r->connected = code == CURLE_OK;
  if (r->connected) return;
  copy_error(r, c);
  curl_easy_getinfo(c->curl, CURLINFO_OS_ERRNO, &number);
  r->os_error = (int)number;
  number = 0;
  curl_easy_getinfo(c->curl, CURLINFO_HTTP_CONNECTCODE, &number);
  r->proxy_status = (int)number;
  r->direct = is_direct(c) && r->proxy_status == 0;
  if (c->open_errno == ENOMEM || c->open_errno == ENOBUFS) r->cause = CRUX_CAUSE_NOMEM;
  if (c->open_errno == EMFILE || c->open_errno == ENFILE) r->cause = CRUX_CAUSE_NOFILE;
}

bool crux_transfer_can_reuse(const crux_transfer *t) {
  const crux_reply *r = &t->reply;
  return r->response.state == CRUX_RESPONSE_COMPLETE && r->response.persistent &&
         r->cause == CRUX_CAUSE_NONE && t->exchange.sent == t->wire_len;
}

void crux_transfer_conclude(crux_transfer *t) {
  const crux_settings *s = &t->request->config->settings;
  crux_reply *r = &t->reply;
  crux_evidence e = {
    .code = r->code, .cause = r->cause,
    .status = r->response.status, .head = r->response.status != 0,
    .sent = r->sends > 0, .tls = s->tls,
    .proxied = s->tls && s->proxy && s->proxy[0] && !r->direct,
    .connected = r->connected, .proxy_status = r->proxy_status,
  };
  r->verdict = crux_judge(&e);
  r->time.total = crux_now() - t->started;
}

void crux_transfer_fail(crux_transfer *t, crux_cause cause) {
  t->reply.cause = cause;
  crux_transfer_conclude(t);
}
