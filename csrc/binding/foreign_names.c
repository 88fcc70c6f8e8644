/* foreign_names: see foreign_names.h. */
#include "foreign_names.h"

#include <stddef.h>
#include <string.h>

#define VERIFIED "certificates are always verified; ca_file is for trust anchors of one's own"
#define NO_REDIRECTS "redirects are never followed"

/* Names in lower case and without underscores, in alphabetical order. */
static const crux_foreign_name foreign[] = {
  { "accesstoken", "token", NULL, NULL },
  { "address", "base_url", NULL, NULL },
  { "agent", "user_agent", NULL, NULL },
  { "allowredirects", "base_url", NULL, NO_REDIRECTS },
  { "apikey", "token", NULL, NULL },
  { "apitoken", "token", NULL, NULL },
  { "apiurl", "base_url", NULL, NULL },
  { "apiversion", "api", NULL, NULL },
  { "attempts", "retries", "attempts after the first", NULL },
  { "auth", "token", NULL, NULL },
  { "authorization", "token", "without the word Token", NULL },
  { "authtoken", "token", NULL, NULL },
  { "base", "base_url", NULL, NULL },
  { "baseuri", "base_url", NULL, NULL },
  { "bearer", "token", NULL, NULL },
  { "ca", "ca_file", NULL, NULL },
  { "cabundle", "ca_file", NULL, NULL },
  { "cacert", "ca_file", NULL, NULL },
  { "cacerts", "ca_file", NULL, NULL },
  { "cadir", "ca_path", NULL, NULL },
  { "cafile", "ca_file", NULL, NULL },
  { "callback", "on_event", NULL, NULL },
  { "cert", "cert_file", NULL, NULL },
  { "certificate", "cert_file", NULL, NULL },
  { "clientcert", "cert_file", NULL, NULL },
  { "clientkey", "key_file", NULL, NULL },
  { "concurrency", "max_connections", NULL, NULL },
  { "connections", "max_connections", NULL, NULL },
  { "connecttimeoutms", "connect_timeout", "in seconds", NULL },
  { "deadline", "timeout", "in seconds from now", NULL },
  { "endpoint", "base_url", NULL, NULL },
  { "followlocation", "base_url", NULL, NO_REDIRECTS },
  { "followredirects", "base_url", NULL, NO_REDIRECTS },
  { "host", "base_url", NULL, NULL },
  { "hostname", "base_url", NULL, NULL },
  { "httpproxy", "proxy", NULL, NULL },
  { "httpsproxy", "proxy", NULL, NULL },
  { "insecure", "ca_file", NULL, VERIFIED },
  { "keepalive", "idle_timeout", "in seconds", NULL },
  { "keepalivetimeout", "idle_timeout", "in seconds", NULL },
  { "key", "key_file", NULL, NULL },
  { "keypath", "key_file", NULL, NULL },
  { "log", "on_event", NULL, NULL },
  { "logger", "on_event", NULL, NULL },
  { "maxattempts", "retries", "attempts after the first", NULL },
  { "maxconns", "max_connections", NULL, NULL },
  { "maxidletimeout", "idle_timeout", "in seconds", NULL },
  { "maxredirects", "base_url", NULL, NO_REDIRECTS },
  { "maxresponsesize", "max_body", NULL, NULL },
  { "maxretries", "retries", NULL, NULL },
  { "maxsize", "max_body", NULL, NULL },
  { "maxtries", "retries", "attempts after the first", NULL },
  { "noproxies", "no_proxy", NULL, NULL },
  { "numretries", "retries", NULL, NULL },
  { "poolsize", "max_connections", NULL, NULL },
  { "privatekey", "key_file", NULL, NULL },
  { "proxies", "proxy", NULL, NULL },
  { "proxyurl", "proxy", NULL, NULL },
  { "readtimeout", "timeout", "for the whole call", NULL },
  { "redirect", "base_url", NULL, NO_REDIRECTS },
  { "redirects", "base_url", NULL, NO_REDIRECTS },
  { "rejectunauthorized", "ca_file", NULL, VERIFIED },
  { "requesttimeout", "timeout", NULL, NULL },
  { "retry", "retries", NULL, NULL },
  { "retrycount", "retries", NULL, NULL },
  { "server", "base_url", NULL, NULL },
  { "site", "base_url", NULL, NULL },
  { "skipverify", "ca_file", NULL, VERIFIED },
  { "sslca", "ca_file", NULL, NULL },
  { "sslcafile", "ca_file", NULL, NULL },
  { "sslcert", "cert_file", NULL, NULL },
  { "sslkey", "key_file", NULL, NULL },
  { "sslverify", "ca_file", NULL, VERIFIED },
  { "sslverifyhost", "ca_file", NULL, VERIFIED },
  { "sslverifypeer", "ca_file", NULL, VERIFIED },
  { "timeoutms", "timeout", "in seconds", NULL },
  { "timeouts", "timeout", "for the whole call", NULL },
  { "timeoutseconds", "timeout", NULL, NULL },
  { "tlsverify", "ca_file", NULL, VERIFIED },
  { "tries", "retries", "attempts after the first", NULL },
  { "ua", "user_agent", NULL, NULL },
  { "uri", "base_url", NULL, NULL },
  { "url", "base_url", NULL, NULL },
  { "verify", "ca_file", NULL, VERIFIED },
  { "verifycert", "ca_file", NULL, VERIFIED },
  { "verifyhost", "ca_file", NULL, VERIFIED },
  { "verifypeer", "ca_file", NULL, VERIFIED },
  { "verifyssl", "ca_file", NULL, VERIFIED },
  { "verifytls", "ca_file", NULL, VERIFIED },
  { "version", "api", NULL, NULL },
};

/* A name without its underscores and capitals; "" if it is longer than any foreign one. */
static void normalize(const char *name, char into[32]) {
  size_t len = 0;
  for (; *name; name++) {
    if (*name == '_' || *name == '-') continue;
    if (len == 31) {
      len = 0;
      break;
    }
    into[len++] = (char)(*name >= 'A' && *name <= 'Z' ? *name + 32 : *name);
  }
  into[len] = '\0';
}

const crux_foreign_name *crux_find_foreign_name(const char *name) {
  char plain[32];
  size_t i;
  normalize(name, plain);
  for (i = 0; i < sizeof foreign / sizeof *foreign; i++) {
    if (strcmp(foreign[i].name, plain) == 0) return &foreign[i];
  }
  return NULL;
}
