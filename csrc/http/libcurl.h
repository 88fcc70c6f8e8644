/* libcurl: its global state, and the version that is there at run time. */
#ifndef CRUX_LIBCURL_H
#define CRUX_LIBCURL_H

#include <stdbool.h>

/* The versions at which crux does something differently; see docs/internals.md. */
#define CRUX_CURL_CLOSES_AT_ONCE 0x075500 /* 7.85.0: curl_easy_cleanup closes the descriptor of a
                                             connect-only handle; before, curl_multi_cleanup does */
#define CRUX_CURL_QUICK_EXIT 0x075700     /* 7.87.0: a handle can be removed during a slow look-up */
#define CRUX_CURL_OWN_BIO 0x075700        /* 7.87.0: OpenSSL writes through curl, with MSG_NOSIGNAL */

/* Once per process, from any thread: libcurl's global state, then the exit and fork handlers. */
bool crux_libcurl_init(void);

/* The version at run time, or the one that `crux_libcurl_assume` lowered it to, for the specs;
   0 ends that. */
unsigned crux_libcurl_version(void);
void crux_libcurl_assume(unsigned version);

#endif
