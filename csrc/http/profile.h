/* profile: what connections with the same destination and the same TLS settings share: resolved
   names, TLS sessions, and the list of those that are idle. Profiles share nothing with each other:
   a TLS session made under one trust anchor must never be resumed under another. */
#ifndef CRUX_PROFILE_H
#define CRUX_PROFILE_H

#include "config.h"

#include <curl/curl.h>

typedef struct crux_profile {
  crux_config *config;          /* one of those that the profile serves */
  CURLSH *share;                /* names and TLS sessions */
  unsigned users;               /* how many connections */
  bool refresh_dns;             /* the last connection failed: do not use cached names */
  struct crux_connection *idle; /* the most recently used first */
  struct crux_profile *next;
} crux_profile;

/* Finds or makes the profile for a config. NULL without memory. */
crux_profile *crux_profile_of(crux_profile **list, crux_config *config);

void crux_profiles_free(crux_profile **list);

#endif
