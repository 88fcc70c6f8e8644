/* request: see request.h. */
#include "request.h"

#include "buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 9110 8.6: a request of a method that allows content has a Content-Length even without
   content. */
static bool has_content_length(const char *method, const char *body) {
  return body || strcmp(method, "PATCH") == 0 || strcmp(method, "POST") == 0;
}

crux_request *crux_request_new(crux_config *config, const char *method, const char *target,
                               bool safe, const char *body, size_t body_len) {
  static const char fields[] = "Accept: application/json\r\n"
                               "Content-Type: application/json; charset=utf-8\r\n";
  const crux_settings *s = &config->settings;
  size_t origin = strlen(s->origin);
  size_t path = strlen(s->prefix) + strlen(s->api_prefix) + strlen(target);
  size_t head_size = strlen(method) + path + strlen(config->host) + strlen(config->agent) +
                     sizeof "  HTTP/1.1\r\nHost: \r\nUser-Agent: \r\n" + sizeof fields +
                     sizeof "Content-Length: 18446744073709551615\r\n";
  crux_request *r = malloc(sizeof *r + origin + path + 1 + head_size + body_len + 1);
  char *end;
  if (!r) return NULL;
  atomic_init(&r->refs, 1);
  r->config = crux_config_retain(config);
  r->method = method;
  r->safe = safe;
  r->url = r->text;
  end = stpcpy(stpcpy(stpcpy(stpcpy(r->text, s->origin), s->prefix), s->api_prefix), target) + 1;
  r->head = end;
  end = stpcpy(stpcpy(stpcpy(stpcpy(end, method), " "), r->url + origin), " HTTP/1.1\r\nHost: ");
  end = stpcpy(stpcpy(end, config->host), "\r\nUser-Agent: ");
  end = stpcpy(stpcpy(end, config->agent), "\r\n");
  end = stpcpy(end, fields);
  if (has_content_length(method, body)) end += sprintf(end, "Content-Length: %zu\r\n", body_len);
  r->head_len = (size_t)(end - r->head);
  r->body = body ? memcpy(end + 1, body, body_len) : NULL;
  r->body_len = body ? body_len : 0;
  return r;
}

crux_request *crux_request_retain(crux_request *r) {
  atomic_fetch_add(&r->refs, 1);
  return r;
}

void crux_request_release(crux_request *r) {
  if (!r || atomic_fetch_sub(&r->refs, 1) != 1) return;
  crux_config_release(r->config);
  if (r->body) crux_wipe(r->text + (r->body - r->text), r->body_len); /* it may hold a password */
  free(r);
}
