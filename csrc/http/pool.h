/* pool: the connections of an engine, and which of them are idle. */
#ifndef CRUX_POOL_H
#define CRUX_POOL_H

#include "connection.h"

typedef struct {
  crux_multis multis;
  crux_profile *profiles;
  crux_connection *all;
  double sweep_at; /* when the first idle connection expires; negative: none is idle */
} crux_pool;

void crux_pool_init(crux_pool *pool, crux_poller *poller);

/* An idle connection that may serve under the config, taken out; NULL if there is none. It is still
   to be probed. */
crux_connection *crux_pool_take(crux_pool *pool, crux_config *config);

/* A new connection, which may take `seconds` to be established. NULL without memory, or with *code
   set to what libcurl has against the settings. */
crux_connection *crux_pool_connect(crux_pool *pool, crux_config *config, double seconds,
                                   CURLcode *code);

/* Keeps a connection for the next attempt, as long as the settings of the last and the server's
   "Keep-Alive: timeout" (-1: none) allow; or closes it, if they do not. */
void crux_pool_keep(crux_pool *pool, crux_connection *c, const crux_settings *s,
                    long server_timeout);

void crux_pool_close(crux_pool *pool, crux_connection *c);

/* Closes the idle connections that have expired. */
void crux_pool_sweep(crux_pool *pool, double now);

/* Closes everything. The attempts that connections carried are left as they are. */
void crux_pool_free(crux_pool *pool);

#endif
