/* multi: a curl multi handle, and the connections of an engine that it carries. It drives them
   until they are established; afterwards they only live in it. */
#ifndef CRUX_MULTI_H
#define CRUX_MULTI_H

#include "../os/poller.h"

#include <curl/curl.h>

/* What the poller finds ready belongs to one of these; each begins with a crux_watcher. */
typedef struct {
  enum { CRUX_WATCHER_MULTI, CRUX_WATCHER_CONNECTION, CRUX_WATCHER_WAKEUP } type;
  bool failed; /* a descriptor of it cannot be watched */
} crux_watcher;

typedef struct crux_multi {
  crux_watcher watcher;
  CURLM *curlm;
  struct crux_multis *all;
  unsigned count;      /* connections in it */
  unsigned connecting; /* those that are not established */
  double timer;        /* when libcurl wants to be called if nothing happens; negative: never */
  struct crux_multi *next;
} crux_multi;

typedef struct crux_multis {
  crux_multi *first;
  crux_poller *poller;
  unsigned connecting; /* of all multis */
  bool watch_failed;   /* of some connection, see its crux_watcher */
} crux_multis;

/* A multi with room for one more connection; NULL without memory. */
crux_multi *crux_multis_reserve(crux_multis *m);

/* A handle, whose CURLOPT_PRIVATE is a crux_watcher, enters and leaves. */
bool crux_multi_add(crux_multi *multi, CURL *curl);
void crux_multi_remove(crux_multi *multi, CURL *curl, bool connecting);

/* Frees an empty multi; where libcurl closes descriptors only then, that is what closes them. Not
   from inside a callback of libcurl. */
void crux_multi_prune(crux_multi *multi);

/* A descriptor is ready, or the timer's time has come. */
void crux_multi_act(crux_multi *multi, const crux_ready *ready);
void crux_multis_run_timers(crux_multis *m, double now);

/* Seconds until a timer is due; negative: none is set. */
double crux_multis_timeout(const crux_multis *m, double now);

/* The next handle that is established (CURLE_OK) or has failed; NULL if there is none. */
CURL *crux_multis_next_done(crux_multis *m, CURLcode *code);

void crux_multis_free(crux_multis *m);

#endif
