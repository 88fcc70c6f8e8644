/* trust: which certificates a connection believes, and which it shows. Verification itself is always
   on; what differs between libcurls is how to name the anchors. */
#ifndef CRUX_TRUST_H
#define CRUX_TRUST_H

#include "config.h"

#include <curl/curl.h>

/* Sets an easy handle up. The code of the option that failed, or CURLE_OK. */
CURLcode crux_trust_set(CURL *curl, const crux_settings *s);

#endif
