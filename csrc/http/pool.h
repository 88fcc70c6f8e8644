/* pool: owns all connections of an engine, and reuses those that are idle. */
#ifndef CRUX_POOL_H
#define CRUX_POOL_H

#include "connection.h"

typedef struct {
  crux_multis multis;
  crux_profile *profiles;
  crux_connection *all; /* linked by `pool` */
  double sweep_at;      /* when the first idle connection expires; negative: none is idle */
} crux_pool;

void crux_pool_init(crux_pool *pool, crux_poller *poller);

/* Takes an idle connection that the config may use; NULL if there is none. It must be probed before
   it is used. */
crux_connection *crux_pool_take(crux_pool *pool, crux_config *config);

/* Makes a connection, see crux_connection_new. */
crux_connection *crux_pool_connect(crux_pool *pool, crux_config *config, double seconds,
                                   CURLcode *code);

/* Makes a connection idle, for as long as the settings of the last attempt and the server's
   "Keep-Alive: timeout" (-1: none) allow. Closes it if they do not. */
void crux_pool_keep(crux_pool *pool, crux_connection *c, const crux_settings *s,
                    long server_timeout);

void crux_pool_close(crux_pool *pool, crux_connection *c);

/* Closes the idle connections that have expired. */
void crux_pool_sweep(crux_pool *pool, double now);

/* Closes all connections. The attempts that they carried are not touched. */
void crux_pool_free(crux_pool *pool);

#endif
