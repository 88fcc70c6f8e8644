/* trust: the trust anchors and the client certificate of a connection. Verification is always on.
   How trust anchors are chosen differs between versions of libcurl. */
#ifndef CRUX_TRUST_H
#define CRUX_TRUST_H

#include "config.h"

#include <curl/curl.h>

/* Sets the TLS options of an easy handle. On failure *option names the setting that was refused. */
CURLcode crux_trust_set(CURL *curl, const crux_settings *s, const char **option);

#endif
