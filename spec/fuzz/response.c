/* Fuzzes csrc/http/response.c. Byte 0 of an input chooses the pieces into which the rest is cut,
   bytes 1 and 2 are max_body, and the rest is what a connection brings before it ends. The verdict
   must not depend on the pieces, and must be the oracle's. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The allocation that fails, counted from 1; 0: none. */
static unsigned failing;
static unsigned allocations;

static void *failing_realloc(void *block, size_t size) {
  return ++allocations == failing ? NULL : realloc(block, size);
}

#define realloc failing_realloc
#include "http/buffer.c"
#undef realloc
#include "http/response.c"

#include "../support/verdict.h"
#include "response_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void expect(bool is_true, const char *what) {
  if (is_true) return;
  fprintf(stderr, "expected otherwise: %s\n", what);
  abort();
}

#define EXPECT(condition) expect(condition, #condition)

static void check_invariants(const crux_response *r, size_t max_body) {
  size_t i, strings = 0;
  EXPECT(r->state == CRUX_RESPONSE_COMPLETE || r->state == CRUX_RESPONSE_REFUSED);
  EXPECT((r->state == CRUX_RESPONSE_REFUSED) == (r->refusal != CRUX_REFUSAL_NONE));
  EXPECT((r->state == CRUX_RESPONSE_REFUSED) == (r->status == 0));
  EXPECT(r->state == CRUX_RESPONSE_COMPLETE || (r->fields.len == 0 && r->body.len == 0));
  EXPECT(!r->persistent);
  EXPECT(r->body.len <= max_body);
  EXPECT(r->fields.len <= CRUX_HEAD_MAX);
  EXPECT(r->fields.capacity <= 2 * CRUX_HEAD_MAX && r->body.capacity <= 2 * CRUX_HEAD_MAX);
  for (i = 0; i < r->fields.len; i++) strings += r->fields.data[i] == '\0';
  EXPECT(strings == 2 * r->field_count);
}

static void check_against_oracle(const verdict *v, const oracle *o) {
  const crux_response *r = &v->response;
  EXPECT(r->refusal == o->refusal);
  EXPECT(v->awaits_end == o->awaits_end);
  EXPECT(strcmp(r->version, o->version) == 0);
  EXPECT(r->fields.len == o->fields_len);
  EXPECT(o->fields_len == 0 || memcmp(r->fields.data, o->fields, o->fields_len) == 0);
  if (o->refusal != CRUX_REFUSAL_NONE) return;
  EXPECT(r->status == o->status);
  EXPECT(r->body_end == o->end);
  EXPECT(r->body.len == o->body_len);
  EXPECT(o->body_len == 0 || memcmp(r->body.data, o->body, o->body_len) == 0);
  EXPECT(r->keep_alive_timeout == o->keep_alive);
  EXPECT(v->awaits_end || v->persistent == o->persistent);
  if (o->end != CRUX_BODY_BROKEN && o->end != CRUX_BODY_LIMIT) EXPECT(v->left == o->len - o->at);
}

static void check_pieces(const verdict *whole, const char *data, size_t len, size_t max_body,
                         size_t first, size_t rest) {
  verdict v;
  verdict_make(&v, data, len, max_body, first, rest);
  EXPECT(verdict_same(whole, &v));
  verdict_free(&v);
}

/* Each allocation fails once, which the verdict tells. */
static void check_failures(const char *data, size_t len, size_t max_body, size_t first) {
  bool has_failed = true;
  for (failing = 1; has_failed && failing < 16; failing++) {
    verdict v;
    allocations = 0;
    verdict_make(&v, data, len, max_body, first, len);
    check_invariants(&v.response, max_body);
    has_failed = allocations >= failing;
    if (has_failed)
      EXPECT(v.response.refusal == CRUX_REFUSAL_NOMEM || v.response.body_end == CRUX_BODY_NOMEM);
    verdict_free(&v);
  }
  failing = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
  static oracle o;
  const char *data = (const char *)input + 3;
  size_t len, max_body;
  verdict whole;
  if (size < 3) return 0;
  len = size - 3;
  max_body = input[1] + input[2] * 256U;
  verdict_make(&whole, data, len, max_body, len, 1);
  check_invariants(&whole.response, max_body);
  oracle_judge(&o, data, len, max_body);
  check_against_oracle(&whole, &o);
  check_pieces(&whole, data, len, max_body, input[0] + 1U, (input[0] % 16 + 1U) * (len / 1024 + 1));
  if (len < 1024) {
    check_pieces(&whole, data, len, max_body, 1, 1);
    check_failures(data, len, max_body, len);
    check_failures(data, len, max_body, len / 2 + 1);
  }
  verdict_free(&whole);
  return 0;
}
