/* config: the settings of a client. They are checked once, and then shared by any number of calls
   and threads without being changed. */
#ifndef CRUX_CONFIG_H
#define CRUX_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define CRUX_SANDBOX "https://api-sandbox.cruxconnect.com"
#define CRUX_PRODUCTION "https://api.cruxconnect.com"

#define CRUX_URL_MAX 2048

typedef struct {
  char origin[CRUX_URL_MAX]; /* scheme://host[:port], without the scheme's default port */
  char prefix[CRUX_URL_MAX]; /* the path without trailing slashes; may be empty */
  bool tls;                  /* the scheme is https */
} crux_base_url;

typedef enum {
  CRUX_URL_OK,
  CRUX_URL_BAD,          /* malformed, or has a part that is not allowed */
  CRUX_URL_NOT_LOOPBACK, /* http:// to another machine */
  CRUX_URL_NOMEM         /* out of memory */
} crux_url_status;

/* Accepts `https://` to any host and `http://` to this machine only, without user, query and
   fragment. */
crux_url_status crux_base_url_parse(const char *url, crux_base_url *parsed);

/* Accepts what curl accepts as CURLOPT_PROXY. It is checked here and not by a call, since curl's
   error message would show the password. */
crux_url_status crux_proxy_parse(const char *url);

/* True for "localhost" and for the addresses of the loopback interface. */
bool crux_is_loopback(const char *host);

/* A further string has to be added to `texts` in config.c. A further field of another type that
   decides whom a connection reaches, or how, has to be compared in crux_config_same_connections. */
typedef struct {
  const char *origin;     /* this and the next two: see crux_base_url */
  const char *prefix;
  bool tls;
  const char *api_prefix; /* path of the API's generation, a string literal */
  const char *headers;    /* further field lines, each with CRLF; this and the next ten may be
                             NULL */
  const char *token;
  const char *username;   /* to log in with */
  const char *password;
  const char *ca_file;    /* trust anchors, PEM */
  const char *ca_path;    /* directory of trust anchors */
  const char *cert_file;  /* client certificate, PEM */
  const char *key_file;   /* its key, PEM; NULL: in cert_file */
  const char *proxy;      /* URL, with user and password */
  const char *no_proxy;   /* CURLOPT_NOPROXY */
  const char *user_agent; /* goes before crux's own */
  double timeout;         /* seconds for a call; positive and finite, as the next */
  double connect_timeout; /* seconds for a connection to be established */
  double idle_timeout;    /* seconds that an idle connection is kept; 0: it is closed at once */
  double connection_lifetime; /* seconds after which a connection is not used again */
  unsigned max_connections;   /* of one client at a time */
  size_t max_body;            /* bytes of a response body */
  bool token_function;        /* the Lua layer has a function for tokens */
  bool environment;           /* token and user are the environment's: a call's own replace them */
} crux_settings;

typedef struct {
  atomic_uint refs;
  unsigned long client;   /* calls of one client share a queue, whatever their options */
  crux_settings settings; /* its strings are in `text` */
  const char *host;       /* host[:port] of the origin */
  const char *agent;      /* the whole User-Agent */
  size_t size;            /* of `text`, which holds the token and the proxy's password */
  char text[];
} crux_config;

/* Copies the settings; the caller has the one reference. `client` 0 stands for a new client. NULL
   without memory. */
crux_config *crux_config_new(const crux_settings *settings, const char *agent,
                             unsigned long client);
crux_config *crux_config_retain(crux_config *config);
void crux_config_release(crux_config *config);

/* The origin's port. */
unsigned crux_config_port(const crux_config *config);

/* True if a connection that was made for one config may be used for the other: every setting that
   decides where it leads and how it is secured is the same, strings byte for byte. */
bool crux_config_same_connections(const crux_config *a, const crux_config *b);

#endif
