/* libcurl: the library's global state, and its version at run time. */
#ifndef CRUX_LIBCURL_H
#define CRUX_LIBCURL_H

#include <stdbool.h>

/* The versions from which on crux does something differently; docs/internals.md has a table. */
#define CRUX_CURL_CLOSES_AT_ONCE 0x075500 /* 7.85: removing a handle closes its connection */
#define CRUX_CURL_OWN_BIO 0x075700 /* 7.87: OpenSSL writes through libcurl, with MSG_NOSIGNAL */
#define CRUX_CURL_CA_CACHE 0x075700 /* 7.87: a multi parses the CA bundle once */
#define CRUX_CURL_NULL_IS_DEFAULT 0x081500 /* 8.21: NULL as CAINFO or CAPATH is the built-in */

/* Initializes libcurl, and registers the exit and fork handlers. Any thread may call it any number
   of times. False if it failed, then and ever after. */
bool crux_libcurl_init(void);

/* The version at run time as a number, 0xXXYYZZ for XX.YY.ZZ. Specs may assume another one; 0 ends
   that. */
unsigned crux_libcurl_version(void);
void crux_libcurl_assume(unsigned version);

/* The built-in file and directory of trust anchors. NULL: there is none, or libcurl is too old to
   tell. */
const char *crux_libcurl_ca_file(void);
const char *crux_libcurl_ca_path(void);

/* True if libcurl's TLS library is GnuTLS. */
bool crux_libcurl_has_gnutls(void);

/* True if curl_easy_recv may return CURLE_AGAIN over TLS although more bytes can be read. After a
   message of TLS itself, such as a session ticket, OpenSSL reads on, but GnuTLS returns. */
bool crux_libcurl_may_stop_early(void);

#endif
