/* config: what a client is made of, checked once and then shared, unchanging, by any number of calls and threads. */
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

/* What curl would take as a proxy, without asking curl at the time of a call: its complaint would echo a password. */
crux_url_status crux_proxy_parse(const char *url);

/* A host that this process reaches without leaving the machine. */
bool crux_is_loopback(const char *host);

typedef struct {
  const char *origin;     /* these three as in crux_base_url */
  const char *prefix;
  bool tls;
  const char *api_prefix; /* a literal */
  const char *token;      /* these six may be NULL */
  const char *ca_file;
  const char *ca_path;
  const char *proxy;
  const char *user_agent; /* in front of crux's own */
  const char *no_proxy;   /* hosts the proxy is not for, as curl reads them; NULL for none */
  double timeout;         /* seconds, positive and finite */
  double connect_timeout;
  unsigned max_connections;
  size_t max_body;
} crux_settings;

typedef struct {
  atomic_uint refs;
  unsigned long client; /* calls of one client stand in one line, whatever their options */
  crux_settings settings; /* its pointers reach into `text` */
  char *host_header;      /* "Host: …" */
  char *agent_header;     /* "User-Agent: …" */
  char text[];
} crux_config;

/* A copy of the settings with one reference; NULL without memory. client 0: a client of its own. */
crux_config *crux_config_new(const crux_settings *settings, const char *agent, unsigned long client);
crux_config *crux_config_retain(crux_config *config);
void crux_config_release(crux_config *config);

#endif
