/* multi: a curl multi handle, and a list of them for an engine. A multi drives its connections
   until they are established; afterwards it only holds them. */
#ifndef CRUX_MULTI_H
#define CRUX_MULTI_H

#include "../os/poller.h"

#include <curl/curl.h>

/* Every owner of a descriptor in the poller begins with one of these. */
typedef struct {
  enum {
    CRUX_WATCHER_MULTI,      /* a descriptor of libcurl's, for a connection that is being made */
    CRUX_WATCHER_CONNECTION, /* an established connection */
    CRUX_WATCHER_WAKEUP      /* the engine's wakeup */
  } type;
  bool failed; /* the connection's: the poller could not watch a descriptor of it */
} crux_watcher;

typedef struct crux_multi {
  crux_watcher watcher;
  CURLM *curlm;
  struct crux_multis *list; /* that it is in */
  unsigned count;           /* connections in it */
  unsigned connecting;      /* those of them that are not established */
  double timer;             /* when CURLMOPT_TIMERFUNCTION's timeout expires; negative: never */
  struct crux_multi *next;
} crux_multi;

typedef struct crux_multis {
  crux_multi *first;
  crux_poller *poller; /* the engine's */
  unsigned connecting; /* the sum over all multis */
  bool watch_failed;   /* some crux_watcher has `failed` set */
} crux_multis;

/* A multi that can take one more connection. NULL without memory. */
crux_multi *crux_multis_reserve(crux_multis *m);

/* Adds and removes a handle, whose CURLOPT_PRIVATE is a crux_watcher. `connecting`: its connection
   was not established yet. */
bool crux_multi_add(crux_multi *multi, CURL *curl);
void crux_multi_remove(crux_multi *multi, CURL *curl, bool connecting);

/* Frees an empty multi. Up to libcurl 7.84 that closes the descriptors of removed connections. Must
   not be called inside a callback of libcurl. */
void crux_multi_prune(crux_multi *multi);

/* Calls curl_multi_socket_action for a descriptor that is ready, and for the timers that have
   expired. */
void crux_multi_socket_action(crux_multi *multi, const crux_ready *ready);
void crux_multis_run_timers(crux_multis *m, double now);

/* Seconds until a timer expires; negative: none is set. */
double crux_multis_timeout(const crux_multis *m, double now);

/* The next handle whose connection is established (CURLE_OK) or has failed; NULL if there is
   none. */
CURL *crux_multis_next_done(crux_multis *m, CURLcode *code);

void crux_multis_free(crux_multis *m);

#endif
