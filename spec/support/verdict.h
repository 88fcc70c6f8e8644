/* verdict: what the parser of csrc/http/response.c makes of a connection's bytes and its end, and
   whether that is the same however the bytes are cut. For the specs and the fuzzer. */
#ifndef CRUX_VERDICT_H
#define CRUX_VERDICT_H

#include "../../csrc/http/response.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  crux_response response; /* after the connection has ended */
  bool awaits_end;        /* it was neither complete nor refused before that */
  bool persistent;        /* before that */
  size_t left;            /* bytes that do not belong to it */
} verdict;

/* In a block of its own, so that a sanitizer sees a read past the end. */
static inline size_t verdict_feed(verdict *v, const char *data, size_t len) {
  char *block = malloc(len);
  size_t taken;
  if (!block) abort();
  memcpy(block, data, len);
  taken = crux_response_feed(&v->response, block, len);
  free(block);
  return taken;
}

/* The first piece has `first` bytes, and each further one `rest`. */
static inline void verdict_make(verdict *v, const char *data, size_t len, size_t max_body,
                                size_t first, size_t rest) {
  size_t at = 0, piece = first, taken = 0;
  crux_response_init(&v->response, max_body);
  while (at < len) {
    if (piece > len - at) piece = len - at;
    taken += verdict_feed(v, data + at, piece);
    at += piece;
    piece = rest;
  }
  v->left = v->response.state == CRUX_RESPONSE_REFUSED ? 0 : len - taken;
  v->awaits_end = v->response.state < CRUX_RESPONSE_COMPLETE;
  v->persistent = v->response.persistent;
  crux_response_end(&v->response);
}

static inline void verdict_free(verdict *v) { crux_response_free(&v->response); }

static inline bool verdict_same_buffer(const crux_buffer *a, const crux_buffer *b) {
  return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static inline bool verdict_same(const verdict *a, const verdict *b) {
  const crux_response *x = &a->response, *y = &b->response;
  return x->state == y->state && x->refusal == y->refusal && x->status == y->status &&
         strcmp(x->version, y->version) == 0 && x->field_count == y->field_count &&
         verdict_same_buffer(&x->fields, &y->fields) && verdict_same_buffer(&x->body, &y->body) &&
         x->body_end == y->body_end && x->keep_alive_timeout == y->keep_alive_timeout &&
         a->awaits_end == b->awaits_end && a->left == b->left &&
         (a->awaits_end || a->persistent == b->persistent);
}

#endif
