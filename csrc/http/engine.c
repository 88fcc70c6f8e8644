/* engine: see engine.h. Attempts wait in their client's queue, connect, exchange, and end; every
   step of that is taken here, in crux_engine_submit or crux_engine_step. */
#include "engine.h"

#include "../os/process.h"
#include "libcurl.h"
#include "pool.h"
#include "queue.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct crux_engine {
  crux_poller poller;
  crux_pool pool;
  crux_queue *queues;
  unsigned waiting;           /* attempts in all queues */
  bool emptied;               /* a queue may be */
  crux_deadlines deadlines;   /* of the attempts that are under way */
  crux_connection *ready, **ready_end; /* those that can go on without waiting, in order */
  unsigned ready_count;
  crux_wakeup *wakeup;
  crux_watcher wakeup_watcher;
  bool ended;                 /* some attempt, in this step */
  bool uses_tls;
  unsigned generation;
  crux_engine_done done;
  void *context;
  crux_engine *leaked;
  char buffer[16384];         /* what is received passes through here; a TLS record fits */
};

/* --- going inside libcurl --- */

/* Before OpenSSL wrote through libcurl, which passes MSG_NOSIGNAL, it could raise SIGPIPE. The
   worker's thread blocks all signals. */
static bool guards_sigpipe(const crux_engine *e) {
  return !e->wakeup && e->uses_tls && crux_libcurl_version() < CRUX_CURL_OWN_BIO;
}

static bool enter(crux_engine *e, crux_sigpipe *before) {
  if (!crux_process_enter()) return false;
  before->is_blocked = guards_sigpipe(e);
  if (before->is_blocked) crux_sigpipe_block(before);
  return true;
}

static void leave(crux_sigpipe *before) {
  if (before->is_blocked) crux_sigpipe_restore(before);
  crux_process_leave();
}

/* --- its life --- */

crux_engine *crux_engine_new(crux_engine_done done, void *context, crux_wakeup *wakeup) {
  crux_engine *e = malloc(sizeof *e);
  if (!e) return NULL;
  memset(e, 0, offsetof(crux_engine, buffer));
  e->done = done;
  e->context = context;
  e->wakeup = wakeup;
  e->wakeup_watcher.type = CRUX_WATCHER_WAKEUP;
  e->generation = crux_process_generation();
  e->ready_end = &e->ready;
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
  while (e->queues) {
    crux_queue *queue = e->queues;
    crux_transfer *t;
    while ((t = crux_deadlines_first(&queue->waiting))) {
      crux_queue_remove(queue, t);
      crux_transfer_release(t);
    }
    e->queues = queue->next;
    crux_queue_free(queue);
  }
}

/* The curl handles belong to the parent process, or the process is exiting. They are leaked on
   purpose, but stay reachable, so that LeakSanitizer says nothing. */
static void leak_deliberately(crux_engine *e) {
  static _Atomic(crux_engine *) leaked;
  e->leaked = atomic_exchange(&leaked, e);
}

static void drop_all(crux_engine *e) {
  crux_transfer *t;
  while ((t = crux_deadlines_first(&e->deadlines))) {
    crux_deadlines_remove(&e->deadlines, t);
    t->connection->transfer = NULL;
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

/* --- the list of those that are ready --- */

static void list_ready(crux_engine *e, crux_connection *c) {
  if (c->ready.listed) return;
  c->ready.listed = true;
  c->ready.next = NULL;
  *e->ready_end = c;
  e->ready_end = &c->ready.next;
  e->ready_count++;
}

static void unlist_ready(crux_engine *e, crux_connection *c) {
  crux_connection **link = &e->ready;
  if (!c->ready.listed) return;
  while (*link != c) link = &(*link)->ready.next;
  *link = c->ready.next;
  if (!*link) e->ready_end = link;
  e->ready_count--;
  c->ready.listed = false;
}

/* --- the end of an attempt --- */

static void attach(crux_transfer *t, crux_connection *c) {
  t->connection = c;
  c->transfer = t;
}

/* `keep`: the connection, if there is one, can carry another request. */
static void detach(crux_engine *e, crux_transfer *t, bool keep) {
  const crux_settings *s = &t->request->config->settings;
  crux_connection *c = t->connection;
  t->connection = NULL;
  if (!c) return;
  c->transfer = NULL;
  unlist_ready(e, c);
  if (keep) crux_pool_keep(&e->pool, c, s, t->reply.response.keep_alive_timeout);
  else crux_pool_close(&e->pool, c);
}

/* An attempt that was started is no longer under way. */
static void withdraw(crux_engine *e, crux_transfer *t, bool keep) {
  crux_deadlines_remove(&e->deadlines, t);
  detach(e, t, keep);
  t->queue->open = true;
  if (--t->queue->active == 0) e->emptied = true;
  t->queue = NULL;
}

static void deliver(crux_engine *e, crux_transfer *t) {
  crux_transfer_conclude(t);
  e->ended = true;
  e->done(t, e->context);
}

static void finish(crux_engine *e, crux_transfer *t) {
  withdraw(e, t, crux_transfer_can_keep(t));
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

static void connect_attempt(crux_engine *e, crux_transfer *t);

/* As far as it goes without waiting. */
static void run(crux_engine *e, crux_transfer *t, bool readable) {
  crux_connection *c = t->connection;
  bool watched = true;
  switch (crux_transfer_advance(t, readable, e->buffer, sizeof e->buffer)) {
    case CRUX_STEP_READ: watched = crux_connection_watch(c, false); break;
    case CRUX_STEP_WRITE: watched = crux_connection_watch(c, true); break;
    case CRUX_STEP_READY: list_ready(e, c); break;
    case CRUX_STEP_DONE: finish(e, t); break;
    case CRUX_STEP_UNUSED:
      if (c->reused) {
        /* as if it had never been: whoever aborts the attempt from now on comes before the first byte */
        atomic_store(&t->stage, CRUX_STAGE_WAITING);
        t->reply.ready = t->reply.reused = false;
        detach(e, t, false);
        connect_attempt(e, t);
      } else {
        t->reply.code = c->code;
        finish(e, t);
      }
      break;
  }
  if (!watched) fail(e, t, CRUX_CAUSE_NOMEM);
}

/* The connection is established, and was probed: this is the last moment to think better of it. */
static void begin(crux_engine *e, crux_transfer *t) {
  int waiting = CRUX_STAGE_WAITING;
  t->reply.ready = true;
  t->reply.reused = t->connection->reused;
  if (t->deadline <= crux_now()) time_out(e, t);
  else if (!atomic_compare_exchange_strong(&t->stage, &waiting, CRUX_STAGE_SENT) &&
           waiting == CRUX_STAGE_ABORTED)
    fail(e, t, CRUX_CAUSE_ABORTED);
  else {
    crux_connection_set_deadline(t->connection, t->deadline);
    run(e, t, false);
  }
}

static bool use_idle(crux_engine *e, crux_transfer *t) {
  crux_connection *c;
  while ((c = crux_pool_take(&e->pool, t->request->config))) {
    if (crux_transfer_probe(c, e->buffer, sizeof e->buffer) == CRUX_IO_AGAIN) {
      attach(t, c);
      t->queue->open = true;
      begin(e, t);
      return true;
    }
    crux_pool_close(&e->pool, c);
  }
  return false;
}

static void connect_attempt(crux_engine *e, crux_transfer *t) {
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

/* It is counted as active in its queue. */
static void start(crux_engine *e, crux_transfer *t) {
  crux_cause cause = crux_transfer_is_too_late(t);
  if (cause == CRUX_CAUSE_NONE && crux_deadlines_push(&e->deadlines, t)) {
    connect_attempt(e, t);
    return;
  }
  t->reply.cause = cause != CRUX_CAUSE_NONE ? cause : CRUX_CAUSE_NOMEM;
  t->queue->active--;
  e->emptied = true;
  deliver(e, t);
}

/* In TLS 1.3 the session ticket, which spares further connections the full handshake, follows the
   handshake: the first bytes from the server bring it. A server may have none, and be slow. */
static double tickets_arrive_within(const crux_transfer *t) {
  return 0.1 + 2 * (t->reply.time.connect + t->reply.time.tls);
}

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
  if (c->tls) t->queue->opens_at = crux_now() + tickets_arrive_within(t);
  else t->queue->open = true;
  found = crux_transfer_probe(c, e->buffer, sizeof e->buffer);
  if (found == CRUX_IO_AGAIN) begin(e, t);
  else {
    crux_transfer_probe_failed(t, found);
    finish(e, t);
  }
}

/* --- the queues --- */

static void run_queue(crux_engine *e, crux_queue *queue, double now) {
  crux_transfer *t;
  while ((t = crux_queue_pop_expired(queue, now))) {
    e->waiting--;
    t->reply.cause = CRUX_CAUSE_EXPIRED;
    deliver(e, t);
  }
  if (queue->opens_at > 0 && queue->opens_at <= now) queue->open = true;
  while ((t = crux_queue_pop(queue))) {
    e->waiting--;
    start(e, t);
  }
}

/* Ends the waits that have lasted too long, and starts as many as may be under way. */
static void run_queues(crux_engine *e) {
  crux_queue *queue, *next;
  double now;
  if (e->waiting == 0 && !e->emptied) return;
  now = crux_now();
  e->emptied = false;
  for (queue = e->queues; queue; queue = next) {
    next = queue->next;
    run_queue(e, queue, now);
    crux_queue_prune(&e->queues, queue);
  }
}

static bool enqueue(crux_engine *e, crux_transfer *t) {
  crux_queue *queue = crux_queue_of(&e->queues, t);
  if (!queue || !crux_queue_push(queue, t)) return false;
  e->waiting++;
  return true;
}

void crux_engine_submit(crux_engine *e, crux_transfer *t) {
  crux_sigpipe sigpipe;
  if (t->request->config->settings.tls) e->uses_tls = true;
  if (!enter(e, &sigpipe)) {
    t->reply.cause = CRUX_CAUSE_EXITING;
    deliver(e, t);
    return;
  }
  /* inside: a forked child frees what is in the queues */
  if (!enqueue(e, t)) {
    t->reply.cause = CRUX_CAUSE_NOMEM;
    deliver(e, t);
  }
  run_queues(e);
  leave(&sigpipe);
}

void crux_engine_drop(crux_engine *e, crux_transfer *t) {
  crux_sigpipe sigpipe;
  if (!enter(e, &sigpipe)) return;
  if (t->connection) withdraw(e, t, false);
  else {
    crux_queue_remove(t->queue, t);
    e->waiting--;
    e->emptied = true;
  }
  run_queues(e);
  leave(&sigpipe);
  crux_transfer_release(t);
}

/* --- stepping --- */

static void dispatch(crux_engine *e, const crux_ready *ready) {
  crux_watcher *watcher = crux_poller_owner(&e->poller, ready->fd);
  crux_connection *c = (crux_connection *)watcher;
  if (!watcher) return;
  if (watcher->type == CRUX_WATCHER_WAKEUP) crux_wakeup_clear(e->wakeup);
  else if (watcher->type == CRUX_WATCHER_MULTI) crux_multi_act((crux_multi *)watcher, ready);
  else if (c->transfer) {
    c->transfer->queue->open = true;
    run(e, c->transfer, ready->in);
  } else if (crux_transfer_probe(c, e->buffer, sizeof e->buffer) != CRUX_IO_AGAIN)
    crux_pool_close(&e->pool, c); /* the server has closed an idle connection, or speaks on it */
}

/* One turn for each that was ready when this began. */
static void run_ready(crux_engine *e) {
  unsigned turns = e->ready_count;
  while (turns-- > 0 && e->ready) {
    crux_connection *c = e->ready;
    unlist_ready(e, c);
    run(e, c->transfer, false);
  }
}

/* Connections that libcurl wants to have watched, and that cannot be, would never be
   established. */
static void fail_unwatched(crux_engine *e) {
  crux_connection *c, *next;
  if (!e->pool.multis.watch_failed) return;
  e->pool.multis.watch_failed = false;
  for (c = e->pool.all; c; c = next) {
    next = c->all.next;
    if (c->watcher.failed && c->state == CRUX_CONNECTION_CONNECTING)
      fail(e, c->transfer, CRUX_CAUSE_NOMEM);
  }
}

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

static double time_to_wait(const crux_engine *e, double seconds) {
  const crux_transfer *t = crux_deadlines_first(&e->deadlines);
  const crux_queue *queue;
  double now = crux_now();
  if (e->ready) return 0;
  if (t) seconds = sooner(seconds, until(t->deadline, now));
  seconds = sooner(seconds, crux_multis_timeout(&e->pool.multis, now));
  if (e->pool.sweep_at >= 0) seconds = sooner(seconds, until(e->pool.sweep_at, now));
  for (queue = e->waiting > 0 ? e->queues : NULL; queue; queue = queue->next) {
    t = crux_deadlines_first(&queue->waiting);
    if (!t) continue;
    seconds = sooner(seconds, until(t->deadline, now));
    if (!queue->open && queue->opens_at > 0) seconds = sooner(seconds, until(queue->opens_at, now));
  }
  return seconds;
}

/* How many descriptors were ready, or -1: see crux_engine_step. */
static int step(crux_engine *e, double seconds) {
  crux_ready ready[CRUX_READY_MAX];
  crux_sigpipe sigpipe;
  int i, count;
  e->ended = false;
  if (e->pool.multis.connecting > 0) {
    /* what was just submitted starts to connect before anything is waited for */
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

void crux_engine_fail_all(crux_engine *e) {
  crux_queue *queue;
  crux_transfer *t;
  while ((t = crux_deadlines_first(&e->deadlines))) {
    crux_deadlines_remove(&e->deadlines, t);
    t->connection->transfer = NULL;
    t->connection = NULL;
    t->reply.cause = CRUX_CAUSE_EXITING;
    deliver(e, t);
  }
  for (queue = e->queues; queue; queue = queue->next) {
    while ((t = crux_deadlines_first(&queue->waiting))) {
      crux_queue_remove(queue, t);
      t->reply.cause = CRUX_CAUSE_EXITING;
      deliver(e, t);
    }
  }
}
