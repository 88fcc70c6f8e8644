/* foreign_names: what other libraries call our options, so that a message can name ours. */
#include "foreign_names.h"

#include "client.h"

#include <string.h>

#define VERIFIED "certificates are always verified; ca_file is for trust anchors of one's own"
#define NO_REDIRECTS "redirects are never followed"

/* Names in lower case and without underscores, in alphabetical order. */
static const struct {
  const char *name;
  const char *ours; /* an option of ours, or NULL if there is none such: */
  const char *why;  /* why not; else what has to be known, or NULL */
} foreign[] = {
  { "accesstoken", "token", NULL },
  { "address", "base_url", NULL },
  { "agent", "user_agent", NULL },
  { "allowredirects", NULL, NO_REDIRECTS },
  { "apikey", "token", NULL },
  { "apitoken", "token", NULL },
  { "apiurl", "base_url", NULL },
  { "apiversion", "api", NULL },
  { "attempts", "retries", "attempts after the first" },
  { "auth", "token", NULL },
  { "authorization", "token", "without the word Token" },
  { "authtoken", "token", NULL },
  { "base", "base_url", NULL },
  { "baseuri", "base_url", NULL },
  { "bearer", "token", NULL },
  { "ca", "ca_file", NULL },
  { "cabundle", "ca_file", NULL },
  { "cacert", "ca_file", NULL },
  { "cacerts", "ca_file", NULL },
  { "cadir", "ca_path", NULL },
  { "cafile", "ca_file", NULL },
  { "callback", "on_event", NULL },
  { "cert", "cert_file", NULL },
  { "certificate", "cert_file", NULL },
  { "clientcert", "cert_file", NULL },
  { "clientkey", "key_file", NULL },
  { "concurrency", "max_connections", NULL },
  { "connections", "max_connections", NULL },
  { "connecttimeoutms", "connect_timeout", "in seconds" },
  { "deadline", "timeout", "in seconds from now" },
  { "endpoint", "base_url", NULL },
  { "followlocation", NULL, NO_REDIRECTS },
  { "followredirects", NULL, NO_REDIRECTS },
  { "host", "base_url", NULL },
  { "hostname", "base_url", NULL },
  { "httpproxy", "proxy", NULL },
  { "httpsproxy", "proxy", NULL },
  { "insecure", NULL, VERIFIED },
  { "keepalive", "idle_timeout", "in seconds" },
  { "keepalivetimeout", "idle_timeout", "in seconds" },
  { "key", "key_file", NULL },
  { "keypath", "key_file", NULL },
  { "log", "on_event", NULL },
  { "logger", "on_event", NULL },
  { "maxattempts", "retries", "attempts after the first" },
  { "maxconns", "max_connections", NULL },
  { "maxidletimeout", "idle_timeout", "in seconds" },
  { "maxredirects", NULL, NO_REDIRECTS },
  { "maxresponsesize", "max_body", NULL },
  { "maxretries", "retries", NULL },
  { "maxsize", "max_body", NULL },
  { "maxtries", "retries", "attempts after the first" },
  { "noproxies", "no_proxy", NULL },
  { "numretries", "retries", NULL },
  { "poolsize", "max_connections", NULL },
  { "privatekey", "key_file", NULL },
  { "proxies", "proxy", NULL },
  { "proxyurl", "proxy", NULL },
  { "readtimeout", "timeout", "for the whole call" },
  { "redirect", NULL, NO_REDIRECTS },
  { "redirects", NULL, NO_REDIRECTS },
  { "rejectunauthorized", NULL, VERIFIED },
  { "requesttimeout", "timeout", NULL },
  { "retry", "retries", NULL },
  { "retrycount", "retries", NULL },
  { "server", "base_url", NULL },
  { "site", "base_url", NULL },
  { "skipverify", NULL, VERIFIED },
  { "sslca", "ca_file", NULL },
  { "sslcafile", "ca_file", NULL },
  { "sslcert", "cert_file", NULL },
  { "sslkey", "key_file", NULL },
  { "sslverify", NULL, VERIFIED },
  { "sslverifyhost", NULL, VERIFIED },
  { "sslverifypeer", NULL, VERIFIED },
  { "timeoutms", "timeout", "in seconds" },
  { "timeouts", "timeout", "for the whole call" },
  { "timeoutseconds", "timeout", NULL },
  { "tlsverify", NULL, VERIFIED },
  { "tries", "retries", "attempts after the first" },
  { "ua", "user_agent", NULL },
  { "uri", "base_url", NULL },
  { "url", "base_url", NULL },
  { "verify", NULL, VERIFIED },
  { "verifycert", NULL, VERIFIED },
  { "verifyhost", NULL, VERIFIED },
  { "verifypeer", NULL, VERIFIED },
  { "verifyssl", NULL, VERIFIED },
  { "verifytls", NULL, VERIFIED },
  { "version", "api", NULL },
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

bool crux_push_foreign(lua_State *L, const char *name, bool policy) {
  char plain[32];
  size_t i;
  normalize(name, plain);
  for (i = 0; i < sizeof foreign / sizeof *foreign; i++) {
    const char *ours = foreign[i].ours, *why = foreign[i].why;
    if (strcmp(foreign[i].name, plain) != 0) continue;
    if (!ours) lua_pushfstring(L, "unknown field: %s", why);
    else if (!crux_is_option(ours, policy)) return false;
    else
      lua_pushfstring(L, "unknown field, did you mean '%s'%s%s?", ours, why ? ", " : "", why ? why : "");
    return true;
  }
  return false;
}
