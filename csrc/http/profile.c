/* profile: see profile.h. */
#include "profile.h"

#include <stdlib.h>

/* How many profiles without connections are kept, with their names and TLS sessions. */
#define UNUSED_MAX 16

static void free_profile(crux_profile *p) {
  if (p->share) curl_share_cleanup(p->share);
  crux_config_release(p->config);
  free(p);
}

/* The list is in order of use, the most recent first. So the profiles beyond the limit are the
   least recently used. */
static void drop_unused(crux_profile **link) {
  unsigned unused = 0;
  while (*link) {
    crux_profile *p = *link;
    if (p->users == 0 && ++unused > UNUSED_MAX) {
      *link = p->next;
      free_profile(p);
    } else link = &p->next;
  }
}

/* NOT_BUILT_IN: a libcurl without TLS has no sessions. */
static bool share(crux_profile *p, curl_lock_data what) {
  CURLSHcode code = curl_share_setopt(p->share, CURLSHOPT_SHARE, what);
  return code == CURLSHE_OK || code == CURLSHE_NOT_BUILT_IN;
}

static crux_profile *new_profile(crux_config *config) {
  crux_profile *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  p->config = crux_config_retain(config);
  p->share = curl_share_init();
  if (p->share && share(p, CURL_LOCK_DATA_DNS) && share(p, CURL_LOCK_DATA_SSL_SESSION)) return p;
  free_profile(p);
  return NULL;
}

crux_profile *crux_profile_of(crux_profile **list, crux_config *config) {
  crux_profile *p, **link = list;
  while (*link && !crux_config_same_connections((*link)->config, config)) link = &(*link)->next;
  p = *link;
  if (p) *link = p->next;
  else {
    p = new_profile(config);
    if (!p) return NULL;
    drop_unused(list);
  }
  p->next = *list;
  *list = p;
  return p;
}

void crux_profiles_free(crux_profile **list) {
  while (*list) {
    crux_profile *p = *list;
    *list = p->next;
    free_profile(p);
  }
}
