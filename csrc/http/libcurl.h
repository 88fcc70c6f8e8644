/* libcurl: its global state, and the version that is there at run time. */
#ifndef CRUX_LIBCURL_H
#define CRUX_LIBCURL_H

#include <stdbool.h>

/* The versions at which crux does something differently; docs/internals.md says more of each. */
#define CRUX_CURL_CLOSES_AT_ONCE 0x075500 /* 7.85: removing a handle closes its connection */
#define CRUX_CURL_OWN_BIO 0x075700 /* 7.87: OpenSSL writes through libcurl, with MSG_NOSIGNAL */
#define CRUX_CURL_CA_CACHE 0x075700 /* 7.87: a multi parses the CA bundle once */
#define CRUX_CURL_NULL_IS_DEFAULT 0x081500 /* 8.21: NULL as CAINFO or CAPATH is the built-in */

/* Once per process, from any thread: libcurl's global state, then the exit and fork handlers. */
bool crux_libcurl_init(void);

/* The version at run time, or the one that the specs have it taken for; 0 ends that. */
unsigned crux_libcurl_version(void);
void crux_libcurl_assume(unsigned version);

/* The built-in bundle and directory of trust anchors; NULL: none, or a libcurl too old to tell. */
const char *crux_libcurl_ca_file(void);
const char *crux_libcurl_ca_path(void);

bool crux_libcurl_has_gnutls(void);

/* Whether receiving over TLS may end with CURLE_AGAIN though there is more to be read. OpenSSL
   reads on after a message that is for itself, such as a session ticket; GnuTLS returns. */
bool crux_libcurl_may_stop_early(void);

#endif
