/* pool: see pool.h. */
#include "pool.h"

#include "../os/process.h"

void crux_pool_init(crux_pool *pool, crux_poller *poller) {
  *pool = (crux_pool){ .multis = { .poller = poller }, .sweep_at = -1 };
}

static void add_idle(crux_connection *c) {
  crux_profile *p = c->profile;
  c->state = CRUX_CONNECTION_IDLE;
  c->idle.previous = NULL;
  c->idle.next = p->idle;
  if (p->idle) p->idle->idle.previous = c;
  p->idle = c;
}

static void remove_idle(crux_connection *c) {
  if (c->idle.previous) c->idle.previous->idle.next = c->idle.next;
  else c->profile->idle = c->idle.next;
  if (c->idle.next) c->idle.next->idle.previous = c->idle.previous;
  c->state = CRUX_CONNECTION_BUSY;
}

static bool is_fresh(const crux_connection *c, const crux_settings *s, double now) {
  return c->expires > now && c->idle_since + s->idle_timeout > now &&
         c->created + s->connection_lifetime > now;
}

crux_connection *crux_pool_take(crux_pool *pool, crux_config *config) {
  crux_profile *p = crux_profile_of(&pool->profiles, config);
  double now = p && p->idle ? crux_now() : 0;
  while (p && p->idle) {
    crux_connection *c = p->idle;
    remove_idle(c);
    if (is_fresh(c, &config->settings, now)) {
      c->reused = true;
      return c;
    }
    crux_pool_close(pool, c);
  }
  return NULL;
}

crux_connection *crux_pool_connect(crux_pool *pool, crux_config *config, double seconds,
                                   CURLcode *code) {
  crux_profile *p = crux_profile_of(&pool->profiles, config);
  crux_connection *c = NULL;
  *code = CURLE_OUT_OF_MEMORY;
  if (p) c = crux_connection_new(&pool->multis, p, seconds, code);
  if (!c) return NULL;
  c->pool.next = pool->all;
  if (c->pool.next) c->pool.next->pool.previous = c;
  pool->all = c;
  return c;
}

void crux_pool_keep(crux_pool *pool, crux_connection *c, const crux_settings *s,
                    long server_timeout) {
  double now = crux_now(), seconds = s->idle_timeout;
  double lifetime = c->created + s->connection_lifetime - now;
  /* a second less, since a request may be in transit when the server's timeout expires */
  if (server_timeout >= 0 && (double)server_timeout - 1 < seconds)
    seconds = (double)server_timeout - 1;
  if (lifetime < seconds) seconds = lifetime;
  if (seconds <= 0 || !crux_connection_watch_out(c, false)) {
    crux_pool_close(pool, c);
    return;
  }
  c->transfer = NULL;
  c->idle_since = now;
  c->expires = now + seconds;
  if (pool->sweep_at < 0 || c->expires < pool->sweep_at) pool->sweep_at = c->expires;
  add_idle(c);
}

void crux_pool_close(crux_pool *pool, crux_connection *c) {
  if (c->state == CRUX_CONNECTION_IDLE) remove_idle(c);
  if (c->pool.previous) c->pool.previous->pool.next = c->pool.next;
  else pool->all = c->pool.next;
  if (c->pool.next) c->pool.next->pool.previous = c->pool.previous;
  crux_connection_close(c);
}

/* Runs at most once per expiry of an idle connection, so walking through all of them is cheap. */
void crux_pool_sweep(crux_pool *pool, double now) {
  crux_connection *c, *next;
  if (pool->sweep_at < 0 || pool->sweep_at > now) return;
  pool->sweep_at = -1;
  for (c = pool->all; c; c = next) {
    next = c->pool.next;
    if (c->state != CRUX_CONNECTION_IDLE) continue;
    if (c->expires <= now) crux_pool_close(pool, c);
    else if (pool->sweep_at < 0 || c->expires < pool->sweep_at) pool->sweep_at = c->expires;
  }
}

void crux_pool_free(crux_pool *pool) {
  while (pool->all) crux_pool_close(pool, pool->all);
  crux_profiles_free(&pool->profiles);
  crux_multis_free(&pool->multis);
}
