/* request: a request as it is sent, except for the token. It is not changed once it is made, and
   all attempts share it. Endpoints are unknown here. */
#ifndef CRUX_REQUEST_H
#define CRUX_REQUEST_H

#include "config.h"

#include <stdatomic.h>

typedef struct {
  atomic_uint refs;
  crux_config *config;
  const char *method;
  bool safe;        /* RFC 9110 9.2.1: it changes nothing at the server, so it may be repeated */
  const char *url;  /* whole, without the token */
  const char *head; /* the request line and all field lines but Authorization */
  size_t head_len;
  const char *body; /* NULL: none */
  size_t body_len;
  char text[];      /* url, head and body */
} crux_request;

/* `method` is a string literal, `target` the path below the API's prefix. A `body` of NULL is none.
   The caller has the one reference. NULL without memory. */
crux_request *crux_request_new(crux_config *config, const char *method, const char *target,
                               bool safe, const char *body, size_t body_len);
crux_request *crux_request_retain(crux_request *request);
void crux_request_release(crux_request *request);

#endif
