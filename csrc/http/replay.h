/* replay: ends an attempt without a connection, by evidence that is given: the bytes that a server
   would have sent, or why there were none. */
#ifndef CRUX_REPLAY_H
#define CRUX_REPLAY_H

#include "transfer.h"

typedef struct {
  const char *received; /* after the request: the server then closes the connection. NULL: the
                           attempt fails as the rest says */
  size_t received_len;
  bool sent;            /* the whole request was sent */
  CURLcode code;        /* this and the rest: see crux_reply */
  crux_cause cause;
  int os_error, proxy_status;
  bool connected, direct;
} crux_replay;

/* Records the evidence in an attempt that no engine has, and that it takes so many seconds. */
void crux_replay_start(crux_transfer *t, const crux_replay *replay, double seconds);
/* Ends it, with the verdict on its reply. */
void crux_replay_end(crux_transfer *t);

#endif
