/* engine: see engine.h. An attempt waits in its client's queue, gets a connection, exchanges
   request and response, and ends. All of that happens inside crux_engine_submit and
   crux_engine_step. */
#include "engine.h"

#include "../os/process.h"
#include "libcurl.h"
#include "pool.h"
#include "queue.h"
#include "run_list.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct crux_engine {
  crux_poller poller;
  crux_pool pool;
  crux_queues queues;          /* of attempts that were not started */
  crux_deadlines deadlines;    /* of attempts that were started */
  crux_run_list run_list;
  crux_wakeup *wakeup;         /* NULL: on a thread of the host */
  crux_watcher wakeup_watcher;
  bool ended;                  /* an attempt has ended in this step */
  bool uses_tls;               /* an attempt was submitted whose origin is https */
  unsigned generation;         /* see crux_process_generation */
  crux_engine_done done;
  void *context;               /* for `done` */
  crux_engine *leaked;         /* see leak_deliberately */
  char buffer[16384];          /* for receiving; holds a TLS record */
};

/* --- the process-wide lock and SIGPIPE --- */

/* Below libcurl 7.87 OpenSSL writes to the socket itself, without MSG_NOSIGNAL. The worker's thread
   blocks all signals anyway. */
static bool must_block_sigpipe(const crux_engine *e) {
  return !e->wakeup && e->uses_tls && crux_libcurl_version() < CRUX_CURL_OWN_BIO;
}

static bool enter(crux_engine *e, crux_sigpipe *before) {
  if (!crux_process_enter()) return false;
  before->is_blocked = must_block_sigpipe(e);
  if (before->is_blocked) crux_sigpipe_block(before);
  return true;
}

static void leave(crux_sigpipe *before) {
  if (before->is_blocked) crux_sigpipe_restore(before);
  crux_process_leave();
}

/* --- creation and destruction --- */

crux_engine *crux_engine_new(crux_engine_done done, void *context, crux_wakeup *wakeup) {
  crux_engine *e = malloc(sizeof *e);
  if (!e) return NULL;
  memset(e, 0, offsetof(crux_engine, buffer));
  e->done = done;
  e->context = context;
  e->wakeup = wakeup;
  e->wakeup_watcher.type = CRUX_WATCHER_WAKEUP;
  e->generation = crux_process_generation();
  crux_run_list_init(&e->run_list);
  crux_pool_init(&e->pool, &e->poller);
  if (crux_poller_init(&e->poller) &&
      (!wakeup || crux_poller_watch(&e->poller, wakeup->in.fd, true, false, &e->wakeup_watcher)))
    return e;
  crux_poller_free(&e->poller);
  free(e);
  return NULL;
}

bool crux_engine_is_ours(const crux_engine *e) {
  return e->generation == crux_process_generation();
}

static void free_queues(crux_engine *e) {
  crux_transfer *t;
  while ((t = crux_queues_pop_any(&e->queues))) crux_transfer_release(t);
  crux_queues_free(&e->queues);
}

/* The curl handles belong to the parent process, or the process is exiting. They are leaked on
   purpose, but kept reachable, so that LeakSanitizer does not report them. */
static void leak_deliberately(crux_engine *e) {
  static _Atomic(crux_engine *) leaked;
  e->leaked = atomic_exchange(&leaked, e);
}

static void drop_all(crux_engine *e) {
  crux_transfer *t;
  while ((t = crux_deadlines_first(&e->deadlines))) {
    crux_deadlines_remove(&e->deadlines, t);
    t->exchange.connection->transfer = NULL;
    crux_transfer_release(t);
  }
  crux_pool_free(&e->pool);
  crux_deadlines_free(&e->deadlines);
}

void crux_engine_free(crux_engine *e) {
  crux_sigpipe sigpipe;
  if (!e) return;
  free_queues(e);
  if (!crux_engine_is_ours(e)) {
    crux_poller_free(&e->poller);
    leak_deliberately(e);
  } else if (!enter(e, &sigpipe)) leak_deliberately(e);
  else {
    drop_all(e);
    leave(&sigpipe);
    crux_poller_free(&e->poller);
    free(e);
  }
}

/* --- the end of an attempt --- */

static void attach(crux_transfer *t, crux_connection *c) {
  t->exchange.connection = c;
  c->transfer = t;
}

/* Separates an attempt from its connection. `reuse`: the connection can carry another request. */
static void detach(crux_engine *e, crux_transfer *t, bool reuse) {
  const crux_settings *s = &t->request->config->settings;
  crux_connection *c = t->exchange.connection;
  t->exchange.connection = NULL;
  if (!c) return;
  c->transfer = NULL;
  if (c->run_list.is_in) crux_run_list_remove(&e->run_list, c);
  if (reuse) crux_pool_keep(&e->pool, c, s, t->reply.response.keep_alive_timeout);
  else crux_pool_close(&e->pool, c);
}

/* Undoes what was done for a started attempt: it is not active any more. */
static void deactivate(crux_engine *e, crux_transfer *t, bool reuse) {
  crux_deadlines_remove(&e->deadlines, t);
  detach(e, t, reuse);
  t->queue->full_limit = true;
  crux_queues_end_active(&e->queues, t);
}

static void deliver(crux_engine *e, crux_transfer *t) {
  crux_transfer_conclude(t);
  e->ended = true;
  e->done(t, e->context);
}

static void finish(crux_engine *e, crux_transfer *t) {
  deactivate(e, t, crux_transfer_can_reuse(t));
  deliver(e, t);
}

static void fail(crux_engine *e, crux_transfer *t, crux_cause cause) {
  t->reply.cause = cause;
  finish(e, t);
}

static void time_out(crux_engine *e, crux_transfer *t) {
  t->reply.code = CURLE_OPERATION_TIMEDOUT;
  finish(e, t);
}

/* --- the course of an attempt --- */

static void get_connection(crux_engine *e, crux_transfer *t);

/* The connection broke before any byte was sent. If it was a reused one, the attempt gets another.
   It is WAITING again: an abort from now on is still before the first byte. */
static void replace_connection(crux_engine *e, crux_transfer *t) {
  const crux_connection *c = t->exchange.connection;
  if (c->reused) {
    atomic_store(&t->stage, CRUX_STAGE_WAITING);
    t->reply.connected = t->reply.reused = false;
    detach(e, t, false);
    get_connection(e, t);
  } else {
    t->reply.code = c->code;
    finish(e, t);
  }
}

/* Sends and receives as much as is possible without waiting. */
static void advance(crux_engine *e, crux_transfer *t, bool readable) {
  crux_connection *c = t->exchange.connection;
  bool watched = true;
  switch (crux_transfer_advance(t, readable, e->buffer, sizeof e->buffer)) {
    case CRUX_STEP_READ: watched = crux_connection_watch_out(c, false); break;
    case CRUX_STEP_WRITE: watched = crux_connection_watch_out(c, true); break;
    case CRUX_STEP_READY: crux_run_list_push(&e->run_list, c); break;
    case CRUX_STEP_DONE: finish(e, t); break;
    case CRUX_STEP_UNUSED: replace_connection(e, t); break;
  }
  if (!watched) fail(e, t, CRUX_CAUSE_NOMEM);
}

/* The connection is established, and was probed. Checks deadline and abort for the last time before
   the first byte is sent. */
static void start_exchange(crux_engine *e, crux_transfer *t) {
  int waiting = CRUX_STAGE_WAITING;
  t->reply.connected = true;
  t->reply.reused = t->exchange.connection->reused;
  if (t->deadline <= crux_now()) time_out(e, t);
  else if (!atomic_compare_exchange_strong(&t->stage, &waiting, CRUX_STAGE_SENT) &&
           waiting == CRUX_STAGE_ABORTED)
    fail(e, t, CRUX_CAUSE_ABORTED);
  else {
    crux_connection_set_deadline(t->exchange.connection, t->deadline);
    advance(e, t, false);
  }
}

/* False: there is no idle connection that is usable. */
static bool use_idle(crux_engine *e, crux_transfer *t) {
  crux_connection *c;
  while ((c = crux_pool_take(&e->pool, t->request->config))) {
    if (crux_connection_probe(c, e->buffer, sizeof e->buffer) == CRUX_IO_AGAIN) {
      attach(t, c);
      t->queue->full_limit = true;
      start_exchange(e, t);
      return true;
    }
    crux_pool_close(&e->pool, c);
  }
  return false;
}

static void get_connection(crux_engine *e, crux_transfer *t) {
  double seconds = t->deadline - crux_now();
  crux_connection *c;
  CURLcode code;
  if (t->connect_timeout < seconds) seconds = t->connect_timeout;
  if (use_idle(e, t)) return;
  if (seconds <= 0) {
    time_out(e, t);
    return;
  }
  c = crux_pool_connect(&e->pool, t->request->config, seconds, &code);
  if (c) attach(t, c);
  else {
    t->reply.code = code;
    finish(e, t);
  }
}

/* Starts an attempt that its queue counts as active. */
static void start(crux_engine *e, crux_transfer *t) {
  crux_cause cause = crux_transfer_check_start(t);
  if (cause == CRUX_CAUSE_NONE && crux_deadlines_push(&e->deadlines, t)) {
    get_connection(e, t);
    return;
  }
  t->reply.cause = cause != CRUX_CAUSE_NONE ? cause : CRUX_CAUSE_NOMEM;
  crux_queues_end_active(&e->queues, t);
  deliver(e, t);
}

/* Seconds within which a session ticket should arrive. In TLS 1.3 it follows the handshake, and
   with it the client's next connections need no full handshake. Not every server sends one. */
static double ticket_timeout(const crux_transfer *t) {
  return 0.1 + 2 * (t->reply.time.connect + t->reply.time.tls);
}

/* libcurl has established a connection, or failed to. */
static void connected(crux_engine *e, crux_connection *c, CURLcode code) {
  crux_transfer *t = c->transfer;
  crux_io found;
  c->state = CRUX_CONNECTION_BUSY;
  if (code == CURLE_OK && !crux_connection_establish(c)) code = CURLE_OUT_OF_MEMORY;
  c->profile->refresh_dns = code != CURLE_OK;
  crux_transfer_connected(t, code);
  if (code != CURLE_OK) {
    finish(e, t);
    return;
  }
  if (c->tls) t->queue->full_limit_at = crux_now() + ticket_timeout(t);
  else t->queue->full_limit = true;
  found = crux_connection_probe(c, e->buffer, sizeof e->buffer);
  if (found == CRUX_IO_AGAIN) start_exchange(e, t);
  else {
    crux_transfer_probe_failed(t, found);
    finish(e, t);
  }
}

/* --- the queues --- */

static void run_queue(crux_engine *e, crux_queue *queue, double now) {
  crux_transfer *t;
  while ((t = crux_queues_pop_expired(&e->queues, queue, now))) {
    t->reply.cause = CRUX_CAUSE_EXPIRED;
    deliver(e, t);
  }
  if (queue->full_limit_at > 0 && queue->full_limit_at <= now) queue->full_limit = true;
  while ((t = crux_queues_pop(&e->queues, queue))) start(e, t);
}

/* For each client's queue: fails attempts whose deadline has passed, then starts as many as the
   limit allows. */
static void run_queues(crux_engine *e) {
  crux_queue *queue, *next;
  double now;
  if (e->queues.waiting == 0 && !e->queues.changed) return;
  now = crux_now();
  e->queues.changed = false;
  for (queue = e->queues.first; queue; queue = next) {
    next = queue->next;
    run_queue(e, queue, now);
    crux_queues_prune(&e->queues, queue);
  }
}

void crux_engine_submit(crux_engine *e, crux_transfer *t) {
  crux_sigpipe sigpipe;
  if (t->request->config->settings.tls) e->uses_tls = true;
  if (!enter(e, &sigpipe)) {
    t->reply.cause = CRUX_CAUSE_EXITING;
    deliver(e, t);
    return;
  }
  /* under the lock, since a forked child walks through the queues to free them */
  if (!crux_queues_push(&e->queues, t)) {
    t->reply.cause = CRUX_CAUSE_NOMEM;
    deliver(e, t);
  }
  run_queues(e);
  leave(&sigpipe);
}

void crux_engine_drop(crux_engine *e, crux_transfer *t) {
  crux_sigpipe sigpipe;
  if (!enter(e, &sigpipe)) return;
  if (t->exchange.connection) deactivate(e, t, false);
  else crux_queues_remove(&e->queues, t);
  run_queues(e);
  leave(&sigpipe);
  crux_transfer_release(t);
}

/* --- one step --- */

/* Handles one descriptor that is ready. */
static void dispatch(crux_engine *e, const crux_ready *ready) {
  crux_watcher *watcher = crux_poller_owner(&e->poller, ready->fd);
  crux_connection *c = (crux_connection *)watcher;
  if (!watcher) return;
  if (watcher->type == CRUX_WATCHER_WAKEUP) crux_wakeup_clear(e->wakeup);
  else if (watcher->type == CRUX_WATCHER_MULTI)
    crux_multi_socket_action((crux_multi *)watcher, ready);
  else if (c->transfer) {
    c->transfer->queue->full_limit = true;
    advance(e, c->transfer, ready->in);
  } else if (crux_connection_probe(c, e->buffer, sizeof e->buffer) != CRUX_IO_AGAIN)
    crux_pool_close(&e->pool, c); /* the server closed an idle connection, or sent bytes on it */
}

/* One turn for each connection that was in the list at the beginning. */
static void run_ready(crux_engine *e) {
  unsigned turns = e->run_list.count;
  while (turns-- > 0 && e->run_list.first) {
    crux_connection *c = e->run_list.first;
    crux_run_list_remove(&e->run_list, c);
    advance(e, c->transfer, false);
  }
}

/* Fails the connections that are being made and whose descriptors the poller could not watch: they
   would never be established. */
static void fail_unwatched(crux_engine *e) {
  crux_connection *c, *next;
  if (!e->pool.multis.watch_failed) return;
  e->pool.multis.watch_failed = false;
  for (c = e->pool.all; c; c = next) {
    next = c->pool.next;
    if (c->watcher.failed && c->state == CRUX_CONNECTION_CONNECTING)
      fail(e, c->transfer, CRUX_CAUSE_NOMEM);
  }
}

/* Handles timers, connections that libcurl has finished with, deadlines and queues. */
static void run_due(crux_engine *e) {
  double now = crux_now();
  crux_transfer *t;
  crux_connection *c;
  CURL *curl;
  CURLcode code;
  crux_multis_run_timers(&e->pool.multis, now);
  fail_unwatched(e);
  while ((curl = crux_multis_next_done(&e->pool.multis, &code))) {
    curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&c);
    connected(e, c, code);
  }
  while ((t = crux_deadlines_first(&e->deadlines)) && t->deadline <= now) time_out(e, t);
  crux_pool_sweep(&e->pool, now);
  run_queues(e);
}

static double sooner(double a, double b) { return a < 0 || (b >= 0 && b < a) ? b : a; }

static double until(double time, double now) { return time > now ? time - now : 0; }

/* `seconds`, or less if something is due before. */
static double time_to_wait(const crux_engine *e, double seconds) {
  const crux_transfer *t = crux_deadlines_first(&e->deadlines);
  double now = crux_now();
  if (e->run_list.first) return 0;
  if (t) seconds = sooner(seconds, until(t->deadline, now));
  if (e->pool.sweep_at >= 0) seconds = sooner(seconds, until(e->pool.sweep_at, now));
  seconds = sooner(seconds, crux_multis_timeout(&e->pool.multis, now));
  if (e->queues.waiting > 0) seconds = sooner(seconds, crux_queues_timeout(&e->queues, now));
  return seconds;
}

/* Returns how many descriptors were ready; -1 where crux_engine_step returns false. */
static int step(crux_engine *e, double seconds) {
  crux_ready ready[CRUX_READY_MAX];
  crux_sigpipe sigpipe;
  int i, count;
  e->ended = false;
  if (e->pool.multis.connecting > 0) {
    /* connecting begins here for what was submitted since the last step */
    if (!enter(e, &sigpipe)) return -1;
    run_due(e);
    leave(&sigpipe);
  }
  count = crux_poller_wait(&e->poller, time_to_wait(e, e->ended ? 0 : seconds), ready);
  if (count < 0 && errno == EINTR) return -1;
  if (!enter(e, &sigpipe)) return -1;
  run_ready(e);
  for (i = 0; i < count; i++) dispatch(e, &ready[i]);
  run_due(e);
  leave(&sigpipe);
  return count < 0 ? 0 : count;
}

bool crux_engine_step(crux_engine *e, double seconds) { return step(e, seconds) >= 0; }

void crux_engine_sweep(crux_engine *e) {
  while (step(e, 0) == CRUX_READY_MAX) continue;
}

static void deliver_at_exit(crux_engine *e, crux_transfer *t) {
  t->reply.cause = CRUX_CAUSE_EXITING;
  deliver(e, t);
}

void crux_engine_fail_all(crux_engine *e) {
  crux_transfer *t;
  while ((t = crux_deadlines_first(&e->deadlines))) {
    crux_deadlines_remove(&e->deadlines, t);
    t->exchange.connection->transfer = NULL;
    t->exchange.connection = NULL;
    deliver_at_exit(e, t);
  }
  while ((t = crux_queues_pop_any(&e->queues))) deliver_at_exit(e, t);
}
