/* transfer: see transfer.h. A request is sent out of one buffer, by one offset that only grows, in
   one place (send_piece): that is why it is on the wire at most once. */
#include "transfer.h"

#include "../os/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* At most so much is offered to libcurl at a time: a TLS record holds no more. */
#define PIECE 16384

/* At most so many bytes are moved for one attempt before others have their turn. */
#define TURN (64 * 1024)

static const char AUTHORIZATION[] = "Authorization: Token ";

static void write_wire(crux_transfer *t, const char *token) {
  const crux_request *r = t->request;
  char *end = t->wire;
  memcpy(end, r->head, r->head_len);
  end += r->head_len;
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

crux_transfer *crux_transfer_new(crux_request *request, const char *token, double deadline,
                                 double connect_timeout) {
  size_t size = request->head_len + sizeof AUTHORIZATION + (token ? strlen(token) : 0) +
                sizeof "\r\n\r\n" + request->body_len;
  crux_transfer *t = malloc(sizeof *t + size);
  if (!t) return NULL;
  memset(t, 0, sizeof *t);
  atomic_init(&t->refs, 1);
  t->request = crux_request_retain(request);
  t->started = crux_now();
  t->deadline = deadline;
  t->connect_timeout = connect_timeout;
  crux_response_init(&t->reply.response, request->config->settings.max_body);
  write_wire(t, token);
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

crux_cause crux_transfer_is_too_late(const crux_transfer *t) {
  if (atomic_load(&t->stage) == CRUX_STAGE_ABORTED) return CRUX_CAUSE_ABORTED;
  return t->deadline <= crux_now() ? CRUX_CAUSE_EXPIRED : CRUX_CAUSE_NONE;
}

/* --- reading --- */

static bool nothing_received(const crux_transfer *t) { return t->reply.time.first_byte == 0; }

/* Few attempts end so: the words are not worth their room in each. Without memory there are
   none. */
static void keep_words(crux_reply *r, const crux_connection *c) {
  free(r->error);
  r->error = c->error[0] ? strdup(c->error) : NULL;
}

/* The connection broke. A TLS alert is the peer's word on TLS, and libcurl has no code for it. */
static void note_error(crux_transfer *t) {
  const crux_connection *c = t->connection;
  t->reply.code = c->code;
  keep_words(&t->reply, c);
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

/* The peer has closed its side, or the connection broke: the response ends with it. */
static void end_response(crux_transfer *t, bool broken) {
  crux_response *r = &t->reply.response;
  bool in_body;
  if (broken) note_error(t);
  r->persistent = false;
  if (nothing_received(t)) {
    if (!broken) t->reply.code = CURLE_GOT_NOTHING;
    return;
  }
  in_body = r->state == CRUX_RESPONSE_BODY;
  crux_response_end(r);
  if (broken) {
    /* a body that ends with the connection has not ended where that broke */
    if (in_body && r->body_end == CRUX_BODY_WHOLE) r->body_end = CRUX_BODY_CUT;
    return;
  }
  if (r->state == CRUX_RESPONSE_REFUSED) t->reply.cause = cause_of(r->refusal);
  else if (r->body_end == CRUX_BODY_CUT) t->reply.code = CURLE_PARTIAL_FILE;
}

/* A response head that arrives before the peer has acknowledged a byte of the request is
   unsolicited. The kernel is asked once the bytes are there and before they are taken: later,
   an acknowledgement may have followed them. The count includes what TLS adds, which is safe: a
   peer cannot read the request before it has a whole TLS record, which is more than all that
   TLS adds. It is 0 where the bytes bypassed TCP (sockmap, MPTCP, SMC): then the response is
   taken. */
static void look_for_acknowledgement(crux_transfer *t) {
  long long outstanding = crux_connection_unacknowledged(t->connection);
  t->acknowledged = outstanding < 0 || (size_t)outstanding < t->reply.bytes_sent;
}

/* Bytes of a response. True: it is complete, or none. */
static bool take(crux_transfer *t, const char *data, size_t len) {
  crux_response *r = &t->reply.response;
  if (nothing_received(t)) {
    /* On a fresh TLS connection it may have been session tickets that were readable, and the
       response may have followed them while they were taken: then the acknowledgement is there
       by now. */
    if (!t->acknowledged && t->connection->tls && !t->connection->reused)
      look_for_acknowledgement(t);
    if (!t->acknowledged) {
      t->reply.cause = CRUX_CAUSE_UNSOLICITED;
      return true;
    }
    t->reply.time.first_byte = crux_now() - t->started;
  }
  crux_response_feed(r, data, len);
  if (r->state == CRUX_RESPONSE_REFUSED) t->reply.cause = cause_of(r->refusal);
  if (r->state >= CRUX_RESPONSE_COMPLETE) return true;
  /* RFC 9112 9.5, RFC 9110 10.1.1: the final answer makes the rest of the request pointless */
  if (r->state == CRUX_RESPONSE_BODY && (r->status > 299 || !r->persistent))
    t->upload_stopped = true;
  return false;
}

/* Receives once. True: the attempt is done; else *got says how much came, 0 for nothing yet. */
static bool receive(crux_transfer *t, bool readable, char *buffer, size_t size, size_t *got) {
  crux_io io;
  *got = 0;
  if (!t->acknowledged) {
    if (!readable && !crux_connection_is_readable(t->connection)) return false;
    look_for_acknowledgement(t);
  }
  io = crux_connection_receive(t->connection, buffer, size, got);
  switch (io) {
    case CRUX_IO_OK: return take(t, buffer, *got);
    case CRUX_IO_AGAIN: return false;
    default: end_response(t, io == CRUX_IO_ERROR); return true;
  }
}

/* --- writing --- */

static bool sends(const crux_transfer *t) { return t->sent < t->wire_len && !t->upload_stopped; }

static void count_sent(crux_transfer *t, size_t bytes) {
  if (bytes > t->reply.bytes_sent) t->reply.bytes_sent = bytes;
  if (bytes > 0) t->reply.sends = 1;
}

/* Over TLS "0 bytes sent" is exact only until the first CRUX_IO_AGAIN or error: from then on a part
   of the record may be out, and GnuTLS writes the rest when it closes. */
static crux_io send_piece(crux_transfer *t) {
  size_t left = t->wire_len - t->sent, sent;
  size_t piece = t->piece ? t->piece : left < PIECE ? left : PIECE;
  crux_io io = crux_connection_send(t->connection, t->wire + t->sent, piece, &sent);
  t->piece = io == CRUX_IO_AGAIN ? piece : 0;
  t->sent += sent;
  count_sent(t, io != CRUX_IO_OK && t->connection->tls ? t->sent + piece : t->sent);
  return io;
}

/* What arrived before the connection broke may be the answer. */
static crux_step read_the_rest(crux_transfer *t, char *buffer, size_t size) {
  size_t got;
  bool done;
  if (t->reply.sends == 0) return CRUX_STEP_UNUSED;
  do done = receive(t, false, buffer, size, &got);
  while (!done && got > 0);
  if (!done) end_response(t, true);
  t->reply.response.persistent = false;
  return CRUX_STEP_DONE;
}

crux_step crux_transfer_advance(crux_transfer *t, bool readable, char *buffer, size_t size) {
  size_t moved = 0, got;
  for (; moved < TURN; readable = false) {
    if (!sends(t) || t->sent > 0 || t->piece > 0) { /* before the first write, the probe has read */
      if (receive(t, readable, buffer, size, &got)) return CRUX_STEP_DONE;
      moved += got;
      if (got > 0) continue;
      if (!sends(t)) return CRUX_STEP_READ;
    }
    switch (send_piece(t)) {
      case CRUX_IO_OK: break;
      case CRUX_IO_AGAIN: return CRUX_STEP_WRITE;
      default: return read_the_rest(t, buffer, size);
    }
    if (!sends(t)) return CRUX_STEP_READ;
    moved += PIECE;
  }
  return CRUX_STEP_READY;
}

/* --- before and after --- */

crux_io crux_transfer_probe(crux_connection *c, char *buffer, size_t size) {
  size_t got;
  return crux_connection_receive(c, buffer, size, &got);
}

void crux_transfer_probe_failed(crux_transfer *t, crux_io found) {
  crux_reply *r = &t->reply;
  if (found == CRUX_IO_OK) r->cause = CRUX_CAUSE_UNSOLICITED;
  else if (found == CRUX_IO_END) r->code = CURLE_GOT_NOTHING;
  else {
    note_error(t);
    /* a TLS 1.3 server that wants a client certificate says so after the handshake */
    if (t->connection->tls && r->code != CURLE_OUT_OF_MEMORY) r->cause = CRUX_CAUSE_ALERT;
  }
}

static double seconds_at(CURL *curl, CURLINFO info) {
  curl_off_t microseconds = 0;
  curl_easy_getinfo(curl, info, &microseconds);
  return (double)microseconds / 1e6;
}

/* libcurl does not say whether no_proxy had it pass the proxy by, but the port does, unless the
   proxy has the same as the origin. */
static bool is_direct(const crux_connection *c) {
  const crux_config *config = c->profile->config;
  return config->settings.no_proxy && c->port == crux_config_port(config);
}

void crux_transfer_connected(crux_transfer *t, CURLcode code) {
  const crux_connection *c = t->connection;
  crux_reply *r = &t->reply;
  double dns = seconds_at(c->curl, CURLINFO_NAMELOOKUP_TIME_T);
  double connect = seconds_at(c->curl, CURLINFO_CONNECT_TIME_T);
  double tls = seconds_at(c->curl, CURLINFO_APPCONNECT_TIME_T);
  long number = 0;
  r->time.dns = dns;
  if (connect > dns) r->time.connect = connect - dns;
  if (tls > connect) r->time.tls = tls - connect;
  r->code = code;
  r->ready = code == CURLE_OK;
  if (r->ready) return;
  keep_words(r, c);
  curl_easy_getinfo(c->curl, CURLINFO_OS_ERRNO, &number);
  r->os_error = (int)number;
  number = 0;
  curl_easy_getinfo(c->curl, CURLINFO_HTTP_CONNECTCODE, &number);
  r->proxy_status = (int)number;
  r->direct = is_direct(c) && r->proxy_status == 0;
  if (c->open_errno == ENOMEM || c->open_errno == ENOBUFS) r->cause = CRUX_CAUSE_NOMEM;
  if (c->open_errno == EMFILE || c->open_errno == ENFILE) r->cause = CRUX_CAUSE_NOFILE;
}

bool crux_transfer_can_keep(const crux_transfer *t) {
  const crux_reply *r = &t->reply;
  return r->response.state == CRUX_RESPONSE_COMPLETE && r->response.persistent &&
         r->cause == CRUX_CAUSE_NONE && t->sent == t->wire_len;
}

void crux_transfer_conclude(crux_transfer *t) {
  const crux_settings *s = &t->request->config->settings;
  crux_reply *r = &t->reply;
  crux_evidence e = {
    .code = r->code, .cause = r->cause,
    .status = r->response.status, .head = r->response.status != 0,
    .sent = r->sends > 0, .tls = s->tls,
    .proxied = s->tls && s->proxy && s->proxy[0] && !r->direct,
    .ready = r->ready, .proxy_status = r->proxy_status,
  };
  r->verdict = crux_judge(&e);
  r->time.total = crux_now() - t->started;
}

void crux_transfer_fail(crux_transfer *t, crux_cause cause) {
  t->reply.cause = cause;
  crux_transfer_conclude(t);
}
