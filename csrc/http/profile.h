/* profile: what the connections to one place, secured in one way, have in common: resolved
   names and TLS sessions, and those of them that are idle. Nothing is shared between profiles:
   a session made under one trust anchor must never be resumed under another. */
#ifndef CRUX_PROFILE_H
#define CRUX_PROFILE_H

#include "config.h"

#include <curl/curl.h>

typedef struct crux_profile {
  crux_config *config; /* one of those that the profile serves */
  CURLSH *share;
  unsigned users;      /* connections */
  bool refresh_dns;    /* the last connection failed: the names are to be looked up again */
  struct crux_connection *idle; /* the most recently used first */
  struct crux_profile *next;
} crux_profile;

/* The profile for a config, made if need be. NULL without memory. */
crux_profile *crux_profile_of(crux_profile **list, crux_config *config);

void crux_profiles_free(crux_profile **list);

#endif
