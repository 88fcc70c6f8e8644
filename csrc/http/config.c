/* config: see config.h. */
#include "config.h"

#include "buffer.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool crux_is_loopback(const char *host) {
  struct in_addr v4;
  struct in6_addr v6;
  char bare[64];
  size_t len = strlen(host);
  if (strcasecmp(host, "localhost") == 0) return true;
  if (len > 2 && len < sizeof bare && host[0] == '[' && host[len - 1] == ']') {
    memcpy(bare, host + 1, len - 2);
    bare[len - 2] = '\0';
    return inet_pton(AF_INET6, bare, &v6) == 1 && memcmp(&v6, &in6addr_loopback, sizeof v6) == 0;
  }
  return inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

static bool is_printable(const char *s) {
  for (; *s; s++) {
    if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 127) return false;
  }
  return true;
}

/* Copies one part of a parsed URL, "" if it has none. BAD: it is longer than `size` allows. */
static crux_url_status get_part(CURLU *u, CURLUPart what, unsigned flags, char *into,
                                size_t size) {
  char *value = NULL;
  CURLUcode code = curl_url_get(u, what, &value, flags);
  crux_url_status status = code == CURLUE_OUT_OF_MEMORY ? CRUX_URL_NOMEM : CRUX_URL_OK;
  into[0] = '\0';
  if (code == CURLUE_OK) {
    if (strlen(value) < size) strcpy(into, value);
    else status = CRUX_URL_BAD;
  }
  curl_free(value);
  return status;
}

/* BAD if a parsed URL has that part. */
static crux_url_status check_absent(CURLU *u, CURLUPart what) {
  char *value = NULL;
  CURLUcode code = curl_url_get(u, what, &value, 0);
  curl_free(value);
  if (code == CURLUE_OUT_OF_MEMORY) return CRUX_URL_NOMEM;
  return code == CURLUE_OK ? CRUX_URL_BAD : CRUX_URL_OK;
}

static crux_url_status read_base_url(CURLU *u, crux_base_url *parsed) {
  static const CURLUPart unwanted[] = {
    CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY, CURLUPART_FRAGMENT,
#if LIBCURL_VERSION_NUM >= 0x074100
    CURLUPART_ZONEID,
#endif
  };
  char scheme[8], host[CRUX_URL_MAX - 32], port[8];
  crux_url_status status;
  size_t i, len;
  for (i = 0; i < sizeof unwanted / sizeof *unwanted; i++) {
    if ((status = check_absent(u, unwanted[i])) != CRUX_URL_OK) return status;
  }
  if ((status = get_part(u, CURLUPART_SCHEME, 0, scheme, sizeof scheme)) != CRUX_URL_OK ||
      (status = get_part(u, CURLUPART_HOST, 0, host, sizeof host)) != CRUX_URL_OK ||
      (status = get_part(u, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT, port, sizeof port)) !=
        CRUX_URL_OK ||
      (status = get_part(u, CURLUPART_PATH, 0, parsed->prefix, sizeof parsed->prefix)) !=
        CRUX_URL_OK)
    return status;
  parsed->tls = strcmp(scheme, "https") == 0;
  if (!parsed->tls && strcmp(scheme, "http") != 0) return CRUX_URL_BAD;
  if (!host[0] || strcmp(port, "0") == 0) return CRUX_URL_BAD;
  if (!parsed->tls && !crux_is_loopback(host)) return CRUX_URL_NOT_LOOPBACK;
  len = strlen(parsed->prefix);
  while (len > 0 && parsed->prefix[len - 1] == '/') parsed->prefix[--len] = '\0';
  snprintf(parsed->origin, sizeof parsed->origin, "%s://%s%s%s", scheme, host,
           port[0] ? ":" : "", port);
  return CRUX_URL_OK;
}

crux_url_status crux_base_url_parse(const char *url, crux_base_url *parsed) {
  crux_url_status status = CRUX_URL_BAD;
  CURLU *u;
  /* curl parses an empty query or fragment as none */
  if (strlen(url) >= CRUX_URL_MAX - 8 || !is_printable(url) || strpbrk(url, "?#\\@"))
    return CRUX_URL_BAD;
  if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
    return CRUX_URL_BAD;
  if (url[strcspn(url, ":") + 3] == '/') return CRUX_URL_BAD; /* curl accepts a third slash */
  u = curl_url();
  if (!u) return CRUX_URL_NOMEM;
  switch (curl_url_set(u, CURLUPART_URL, url, CURLU_PATH_AS_IS)) {
    case CURLUE_OK: status = read_base_url(u, parsed); break;
    case CURLUE_OUT_OF_MEMORY: status = CRUX_URL_NOMEM; break;
    default: break;
  }
  curl_url_cleanup(u);
  return status;
}

/* A proxy without a scheme is an http proxy. `is_guessed`: the URL had none, and the parser guessed
   one from the host's name. */
static crux_url_status check_proxy_scheme(CURLU *u, bool is_guessed) {
  static const char *const schemes[] = {
    "http", "https", "socks4", "socks4a", "socks5", "socks5h",
  };
  char scheme[16];
  crux_url_status status = get_part(u, CURLUPART_SCHEME, 0, scheme, sizeof scheme);
  size_t i;
  if (status != CRUX_URL_OK || is_guessed) return status;
  for (i = 0; i < sizeof schemes / sizeof *schemes; i++) {
    if (strcmp(scheme, schemes[i]) == 0) return CRUX_URL_OK;
  }
  return CRUX_URL_BAD;
}

crux_url_status crux_proxy_parse(const char *url) {
  crux_url_status status = CRUX_URL_BAD;
  CURLU *u;
  if (strlen(url) >= CRUX_URL_MAX || !is_printable(url)) return CRUX_URL_BAD;
  u = curl_url();
  if (!u) return CRUX_URL_NOMEM;
  switch (curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME)) {
    case CURLUE_OK: status = check_proxy_scheme(u, !strstr(url, "://")); break;
    case CURLUE_OUT_OF_MEMORY: status = CRUX_URL_NOMEM; break;
    default: break;
  }
  curl_url_cleanup(u);
  return status;
}

/* The strings of crux_settings. The first CONNECTION_TEXTS of them decide where a connection leads
   and how it is secured. */
static const size_t texts[] = {
  offsetof(crux_settings, origin), offsetof(crux_settings, proxy),
  offsetof(crux_settings, no_proxy),
  offsetof(crux_settings, ca_file), offsetof(crux_settings, ca_path),
  offsetof(crux_settings, cert_file), offsetof(crux_settings, key_file),
  offsetof(crux_settings, prefix), offsetof(crux_settings, token),
  offsetof(crux_settings, username), offsetof(crux_settings, password),
  offsetof(crux_settings, headers),
  offsetof(crux_settings, user_agent),
};
enum { CONNECTION_TEXTS = 7, TEXTS = sizeof texts / sizeof *texts };

static const char *text_of(const crux_settings *s, size_t i) {
  const char *text;
  memcpy(&text, (const char *)s + texts[i], sizeof text);
  return text;
}

static void set_text(crux_settings *s, size_t i, const char *text) {
  memcpy((char *)s + texts[i], &text, sizeof text);
}

crux_config *crux_config_new(const crux_settings *s, const char *agent, unsigned long client) {
  static atomic_ulong clients;
  size_t i, size = (s->user_agent ? strlen(s->user_agent) + 1 : 0) + strlen(agent) + 1;
  crux_config *c;
  char *end;
  for (i = 0; i < TEXTS; i++) size += text_of(s, i) ? strlen(text_of(s, i)) + 1 : 0;
  c = malloc(sizeof *c + size);
  if (!c) return NULL;
  end = c->text;
  atomic_init(&c->refs, 1);
  c->client = client ? client : atomic_fetch_add(&clients, 1) + 1;
  c->settings = *s;
  c->size = size;
  for (i = 0; i < TEXTS; i++) {
    if (!text_of(s, i)) continue;
    set_text(&c->settings, i, end);
    end = stpcpy(end, text_of(s, i)) + 1;
  }
  c->host = strstr(c->settings.origin, "://") + 3;
  c->agent = end;
  if (s->user_agent) end = stpcpy(stpcpy(end, s->user_agent), " ");
  strcpy(end, agent);
  return c;
}

unsigned crux_config_port(const crux_config *c) {
  const char *port = strrchr(c->host, ':');
  if (port && !strchr(port, ']')) return (unsigned)strtoul(port + 1, NULL, 10);
  return c->settings.tls ? 443 : 80;
}

static bool same_text(const char *a, const char *b) {
  return a == b || (a && b && strcmp(a, b) == 0);
}

bool crux_config_same_connections(const crux_config *a, const crux_config *b) {
  size_t i;
  if (a == b) return true;
  for (i = 0; i < CONNECTION_TEXTS; i++) {
    if (!same_text(text_of(&a->settings, i), text_of(&b->settings, i))) return false;
  }
  return true;
}

crux_config *crux_config_retain(crux_config *c) {
  atomic_fetch_add(&c->refs, 1);
  return c;
}

void crux_config_release(crux_config *c) {
  if (!c || atomic_fetch_sub(&c->refs, 1) != 1) return;
  crux_wipe(c->text, c->size);
  free(c);
}
