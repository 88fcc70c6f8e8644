#include "request.h"

#include <stdlib.h>
#include <string.h>

crux_request *crux_request_new(crux_config *config, const crux_endpoint *endpoint, const char *path_value,
                               const char *body, size_t body_len) {
  const char *star = strchr(endpoint->path, '*');
  const crux_settings *s = &config->settings;
  size_t url_room = strlen(s->origin) + strlen(s->prefix) + strlen(s->api_prefix) + strlen(endpoint->path) + strlen(path_value) + 1;
  crux_request *r = malloc(sizeof *r + url_room + body_len + 1);
  char *end;
  if (!r) return NULL;
  atomic_init(&r->refs, 1);
  r->config = crux_config_retain(config);
  r->endpoint = endpoint;
  r->url = r->text;
  end = stpcpy(stpcpy(stpcpy(stpcpy(r->text, s->origin), s->prefix), s->api_prefix), endpoint->path);
  if (star) strcpy(stpcpy(end - strlen(star), path_value), star + 1);
  r->body = memcpy(r->text + url_room, body, body_len);
  r->text[url_room + body_len] = '\0';
  r->body_len = body_len;
  return r;
}

crux_request *crux_request_retain(crux_request *r) {
  atomic_fetch_add(&r->refs, 1);
  return r;
}

void crux_request_release(crux_request *r) {
  if (!r || atomic_fetch_sub(&r->refs, 1) != 1) return;
  crux_config_release(r->config);
  free(r);
}

void crux_request_headers(const crux_request *r, const char *authorization, const char *lines[CRUX_HEADERS]) {
  lines[0] = r->config->host_header;
  lines[1] = r->config->agent_header;
  lines[2] = "Accept: application/json";
  lines[3] = authorization;
  lines[4] = "Content-Type: application/json; charset=utf-8";
}

size_t crux_request_head_size(const crux_request *r, const char *authorization) {
  const char *lines[CRUX_HEADERS];
  size_t i, digits, size = strlen(r->endpoint->method) + strlen(r->url + strlen(r->config->settings.origin)) +
                   sizeof "  HTTP/1.1\r\n\r\n" - 1;
  crux_request_headers(r, authorization, lines);
  for (i = 0; i < CRUX_HEADERS; i++) size += strlen(lines[i]) + 2;
  if (r->endpoint->has_body) {
    size += sizeof "Content-Length: 0\r\n" - 1;
    for (digits = r->body_len / 10; digits > 0; digits /= 10) size++;
  }
  return size;
}
