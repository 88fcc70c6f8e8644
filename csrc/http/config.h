/* config: what a client is made of, checked once and then shared, unchanging, by any number of
   calls and threads. */
#ifndef CRUX_CONFIG_H
#define CRUX_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define CRUX_SANDBOX "https://api-sandbox.cruxconnect.com"
#define CRUX_PRODUCTION "https://api.cruxconnect.com"

#define CRUX_URL_MAX 2048

typedef struct {
  char origin[CRUX_URL_MAX]; /* scheme://host[:port], the port only if it is not the scheme's own */
  char prefix[CRUX_URL_MAX]; /* path without its last slash, maybe empty */
  bool tls;
} crux_base_url;

typedef enum { CRUX_URL_OK, CRUX_URL_BAD, CRUX_URL_NOT_LOOPBACK, CRUX_URL_NOMEM } crux_url_status;

/* `https://` anywhere, `http://` to this machine only; no user, query or fragment. */
crux_url_status crux_base_url_parse(const char *url, crux_base_url *parsed);

/* What curl would take as a proxy, without asking curl at the time of a call: its complaint
   would echo a password. */
crux_url_status crux_proxy_parse(const char *url);

/* A host that this process reaches without leaving the machine. */
bool crux_is_loopback(const char *host);

typedef struct {
  const char *origin;     /* these three as in crux_base_url */
  const char *prefix;
  bool tls;
  const char *api_prefix; /* a literal */
  const char *token;      /* these may be NULL */
  const char *ca_file;
  const char *ca_path;
  const char *cert_file;  /* client certificate and key, PEM */
  const char *key_file;
  const char *proxy;
  const char *no_proxy;   /* hosts the proxy is not for, as curl reads them; NULL: none */
  const char *user_agent; /* in front of crux's own */
  double timeout;         /* seconds, positive and finite */
  double connect_timeout;
  double idle_timeout;        /* seconds that an unused connection is kept; 0: not at all */
  double connection_lifetime; /* seconds after which a connection is not used again */
  unsigned max_connections;
  size_t max_body;
} crux_settings;

typedef struct {
  atomic_uint refs;
  unsigned long client; /* calls of one client share a queue, whatever their options */
  crux_settings settings; /* its pointers reach into `text` */
  const char *host;       /* host[:port] of the origin */
  const char *agent;      /* the whole User-Agent */
  size_t size;            /* of `text`, which holds the token and the proxy's password */
  char text[];
} crux_config;

/* A copy of the settings with one reference; NULL without memory. client 0: a client of its own. */
crux_config *crux_config_new(const crux_settings *settings, const char *agent,
                             unsigned long client);
crux_config *crux_config_retain(crux_config *config);
void crux_config_release(crux_config *config);

/* The port of the origin. */
unsigned crux_config_port(const crux_config *config);

/* Whether a connection made under one may be used under the other: everything that decides whom it
   reaches and how it is secured is the same, to the byte. */
bool crux_config_same_connections(const crux_config *a, const crux_config *b);

#endif
