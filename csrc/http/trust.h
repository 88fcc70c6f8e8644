/* trust: which certificates a connection believes, and which it shows. Verification itself is
   always on; what differs between libcurls is how to name the anchors. */
#ifndef CRUX_TRUST_H
#define CRUX_TRUST_H

#include "config.h"

#include <curl/curl.h>

/* Sets an easy handle up. On failure *option is the setting that libcurl has something against. */
CURLcode crux_trust_set(CURL *curl, const crux_settings *s, const char **option);

#endif
