/* message: a request as it will be on the wire, but for the token. Unchanging; shared by the attempts at it. */
#ifndef CRUX_MESSAGE_H
#define CRUX_MESSAGE_H

#include "config.h"
#include "../endpoint.h"

#include <stdatomic.h>

typedef struct {
  atomic_uint refs;
  crux_config *config;
  const crux_endpoint *endpoint;
  const char *url;
  const char *body;
  size_t body_len;
  char text[];
} crux_request;

/* `path_value` stands where the endpoint's path has its `*`. NULL without memory. */
crux_request *crux_request_new(crux_config *config, const crux_endpoint *endpoint, const char *path_value,
                               const char *body, size_t body_len);
crux_request *crux_request_retain(crux_request *request);
void crux_request_release(crux_request *request);

/* The headers that are sent, "Name: value" each, in their order; Content-Length, which curl writes, is not among them. */
enum { CRUX_HEADERS = 5 };
void crux_request_headers(const crux_request *request, const char *authorization, const char *lines[CRUX_HEADERS]);

/* The length of the head as curl writes it. */
size_t crux_request_head_size(const crux_request *request, const char *authorization);

#endif
