#include "engine.h"

#include "queue.h"
#include "../os/poller.h"
#include "../os/process.h"

#include <errno.h>
#include <stdlib.h>

struct crux_engine {
  CURLM *multi;
  crux_poller poller;
  crux_sockets sockets;
  double timer; /* when curl wants to be called though nothing happened; negative: never */
  crux_easy *idle;
  crux_transfer *carried; /* all that are with curl */
  unsigned active, connections;
  crux_queue *lines;
  bool ended;     /* some attempt, in this step */
  bool unwatched; /* one of the carried cannot be watched, and would never end */
  crux_wakeup *wake;
  unsigned generation;
  crux_engine_done done;
  void *context;
  crux_engine *left;
};

static crux_transfer *transfer_of(CURL *curl) {
  crux_easy *easy;
  curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&easy);
  return easy ? easy->transfer : NULL;
}

/* --- what curl calls ----------------------------------------------------------------------------------------------- */

static int on_socket(CURL *curl, curl_socket_t fd, int what, void *p, void *unused) {
  crux_engine *e = p;
  bool in = what == CURL_POLL_IN || what == CURL_POLL_INOUT, out = what == CURL_POLL_OUT || what == CURL_POLL_INOUT;
  (void)unused;
  if (!crux_poller_watch(&e->poller, fd, in, out)) {
    /* to say so to curl would end every other transfer too */
    crux_transfer *t = transfer_of(curl);
    if (!t) return 0; /* a handle of curl's own, on which newer ones say goodbye on a connection */
    t->reply.cause = CRUX_CAUSE_NOMEM;
    t->unwatched = e->unwatched = true;
  }
  return 0;
}

static int on_timer(CURLM *multi, long ms, void *p) {
  crux_engine *e = p;
  (void)multi;
  e->timer = ms < 0 ? -1 : crux_now() + (double)ms / 1e3;
  return 0;
}

/* --- going inside --------------------------------------------------------------------------------------------------- */

static bool enter(crux_engine *e, crux_sigpipe *before) {
  if (!crux_process_enter()) return false;
  if (!e->wake) crux_sigpipe_block(before);
  return true;
}

static void leave(crux_engine *e, crux_sigpipe *before) {
  if (!e->wake) crux_sigpipe_restore(before);
  crux_process_leave();
}

/* --- its life ------------------------------------------------------------------------------------------------------ */

static bool set_up(crux_engine *e) {
  bool ok = false;
  crux_sigpipe sigpipe;
  if (!enter(e, &sigpipe)) return false;
  e->multi = curl_multi_init();
  if (e->multi) {
    ok = !curl_multi_setopt(e->multi, CURLMOPT_SOCKETFUNCTION, on_socket) &&
         !curl_multi_setopt(e->multi, CURLMOPT_SOCKETDATA, e) &&
         !curl_multi_setopt(e->multi, CURLMOPT_TIMERFUNCTION, on_timer) &&
         !curl_multi_setopt(e->multi, CURLMOPT_TIMERDATA, e) &&
         !curl_multi_setopt(e->multi, CURLMOPT_MAXCONNECTS, (long)e->connections);
#if LIBCURL_VERSION_NUM >= 0x081400
    curl_multi_setopt(e->multi, CURLMOPT_QUICK_EXIT, 1L);
#endif
  }
  leave(e, &sigpipe);
  return ok && (!e->wake || crux_poller_watch(&e->poller, e->wake->in, true, false));
}

crux_engine *crux_engine_new(crux_engine_done done, void *context, crux_wakeup *wake) {
  crux_engine *e = calloc(1, sizeof *e);
  if (!e) return NULL;
  e->done = done;
  e->context = context;
  e->wake = wake;
  e->timer = -1;
  e->connections = 64;
  e->sockets.poller = &e->poller;
  e->generation = crux_process_generation();
  if (!crux_poller_init(&e->poller)) {
    free(e);
    return NULL;
  }
  if (!set_up(e)) {
    crux_engine_free(e);
    return NULL;
  }
  return e;
}

bool crux_engine_is_ours(const crux_engine *e) { return e->generation == crux_process_generation(); }

static void lend(crux_engine *e, crux_transfer *t, crux_easy *easy) {
  e->idle = easy->next;
  easy->next = NULL;
  t->previous = NULL;
  t->next = e->carried;
  if (t->next) t->next->previous = t;
  e->carried = t;
}

static void take_back(crux_engine *e, crux_transfer *t) {
  if (t->previous) t->previous->next = t->next;
  else e->carried = t->next;
  if (t->next) t->next->previous = t->previous;
  t->easy->next = e->idle;
  e->idle = t->easy;
  t->easy = NULL;
}

static void drop_all(crux_engine *e) {
  while (e->carried) {
    crux_transfer *t = e->carried;
    curl_multi_remove_handle(e->multi, t->easy->curl);
    take_back(e, t);
    crux_transfer_release(t);
  }
  while (e->idle) {
    crux_easy *easy = e->idle;
    e->idle = easy->next;
    crux_easy_free(easy);
  }
  curl_multi_cleanup(e->multi);
  crux_sockets_free(&e->sockets);
}

/* What is curl's is not to be touched any more; a leak checker may still see that it is held. */
static void leave_behind(crux_engine *e) {
  static _Atomic(crux_engine *) left;
  e->left = atomic_exchange(&left, e);
}

void crux_engine_free(crux_engine *e) {
  crux_sigpipe sigpipe;
  if (!e) return;
  while (e->lines) {
    crux_queue *line = e->lines;
    while (line->count > 0) {
      crux_transfer *t = line->heap[0];
      crux_queue_remove(line, t);
      crux_transfer_release(t);
    }
    e->lines = line->next;
    crux_queue_free(line);
  }
  if (!crux_engine_is_ours(e)) {
    crux_sockets_abandon(&e->sockets);
    crux_poller_free(&e->poller);
    leave_behind(e);
  } else if (!enter(e, &sigpipe)) leave_behind(e);
  else {
    if (e->multi) drop_all(e);
    leave(e, &sigpipe);
    crux_poller_free(&e->poller);
    free(e);
  }
}

/* --- attempts ------------------------------------------------------------------------------------------------------ */

/* Sent no more: the caller has given up, or would have by the time it is on the wire. */
static crux_cause is_too_late(const crux_transfer *t) {
  if (atomic_load(&t->stage) == CRUX_ABORTED) return CRUX_CAUSE_ABORTED;
  return t->deadline <= crux_now() ? CRUX_CAUSE_EXPIRED : CRUX_CAUSE_NONE;
}

static bool start(crux_engine *e, crux_transfer *t) {
  crux_easy *easy = e->idle;
  if (is_too_late(t)) return false;
  if (!easy) {
    easy = crux_easy_new();
    if (!easy) return false;
    easy->next = e->idle;
    e->idle = easy;
  }
  if (!crux_transfer_prepare(t, easy, &e->sockets)) return false;
  if (e->active + 1 > e->connections) {
    /* below the number of calls on their way, curl would close connections that are about to be used again */
    e->connections *= 2;
    curl_multi_setopt(e->multi, CURLMOPT_MAXCONNECTS, (long)e->connections);
  }
  lend(e, t, easy);
  if (curl_multi_add_handle(e->multi, easy->curl) == CURLM_OK) return true;
  take_back(e, t);
  return false;
}

static void finish(crux_engine *e, crux_transfer *t) {
  e->ended = true;
  e->done(t, e->context);
}

static void let_through(crux_engine *e, crux_queue *line) {
  crux_transfer *t;
  crux_cause late;
  while ((t = crux_queue_pop(line))) {
    e->active++;
    if (start(e, t)) continue;
    line->active--;
    e->active--;
    late = is_too_late(t);
    crux_transfer_fail(t, late ? late : CRUX_CAUSE_NOMEM);
    finish(e, t);
  }
}

/* An attempt has left curl: its line's next may go. */
static void depart(crux_engine *e, crux_transfer *t) {
  crux_queue *line = t->line;
  take_back(e, t);
  t->line = NULL;
  e->active--;
  line->active--;
  line->open = true;
  let_through(e, line);
  crux_queue_prune(&e->lines, line);
}

void crux_engine_submit(crux_engine *e, crux_transfer *t) {
  crux_sigpipe sigpipe;
  crux_queue *line;
  if (!enter(e, &sigpipe)) return;
  line = crux_queue_of(&e->lines, t);
  if (line && crux_queue_push(line, t)) let_through(e, line);
  else {
    crux_transfer_fail(t, CRUX_CAUSE_NOMEM);
    finish(e, t);
  }
  if (line) crux_queue_prune(&e->lines, line);
  leave(e, &sigpipe);
}

void crux_engine_drop(crux_engine *e, crux_transfer *t) {
  crux_sigpipe sigpipe;
  if (!enter(e, &sigpipe)) return;
  if (t->easy) {
    curl_multi_remove_handle(e->multi, t->easy->curl);
    depart(e, t);
  } else {
    crux_queue *line = t->line;
    crux_queue_remove(line, t);
    crux_queue_prune(&e->lines, line);
  }
  leave(e, &sigpipe);
  crux_transfer_release(t);
}

/* --- stepping ------------------------------------------------------------------------------------------------------ */

static void conclude(crux_engine *e, CURL *curl, CURLcode code) {
  crux_transfer *t = transfer_of(curl);
  curl_multi_remove_handle(e->multi, curl);
  if (crux_transfer_conclude(t, code)) {
    crux_cause late = is_too_late(t);
    if (!late && crux_transfer_prepare(t, t->easy, &e->sockets) && curl_multi_add_handle(e->multi, curl) == CURLM_OK) return;
    crux_transfer_fail(t, late ? late : CRUX_CAUSE_NOMEM);
  }
  depart(e, t);
  finish(e, t);
}

static void act(crux_engine *e, const crux_ready *ready, int count) {
  int i, running, left;
  CURLMsg *message;
  for (i = 0; i < count; i++) {
    if (e->wake && ready[i].fd == e->wake->in) {
      crux_wakeup_clear(e->wake);
      continue;
    }
    curl_multi_socket_action(e->multi, ready[i].fd,
                             (ready[i].in ? CURL_CSELECT_IN : 0) | (ready[i].out ? CURL_CSELECT_OUT : 0) |
                               (ready[i].err ? CURL_CSELECT_ERR : 0),
                             &running);
  }
  if (e->timer >= 0 && e->timer <= crux_now()) {
    e->timer = -1;
    curl_multi_socket_action(e->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  }
  while ((message = curl_multi_info_read(e->multi, &left))) {
    if (message->msg == CURLMSG_DONE) conclude(e, message->easy_handle, message->data.result);
  }
  while (e->unwatched) {
    crux_transfer *t = e->carried;
    while (t && !t->unwatched) t = t->next;
    if (t) conclude(e, t->easy->curl, CURLE_OUT_OF_MEMORY);
    else e->unwatched = false;
  }
}

/* Lets go on who may, and ends the waits that have lasted too long. */
static void tend_lines(crux_engine *e) {
  crux_queue *line, *next;
  crux_transfer *t;
  double now;
  if (!e->lines) return;
  now = crux_now();
  for (line = e->lines; line; line = next) {
    next = line->next;
    while ((t = crux_queue_pop_expired(line, now))) {
      crux_transfer_fail(t, CRUX_CAUSE_EXPIRED);
      finish(e, t);
    }
    let_through(e, line);
    crux_queue_prune(&e->lines, line);
  }
}

static double sooner(double a, double b) { return a < 0 || b < a ? b : a; }

static double time_to_wait(crux_engine *e, double seconds) {
  double now = crux_now();
  crux_queue *line;
  if (e->timer >= 0) seconds = sooner(seconds, e->timer > now ? e->timer - now : 0);
  for (line = e->lines; line; line = line->next) {
    if (line->count > 0) {
      double left = line->heap[0]->deadline - now;
      seconds = sooner(seconds, left > 0 ? left : 0);
    }
  }
  return seconds;
}

static void go_inside(crux_engine *e, const crux_ready *ready, int count) {
  crux_sigpipe sigpipe;
  if (!enter(e, &sigpipe)) return;
  act(e, ready, count);
  tend_lines(e);
  leave(e, &sigpipe);
}

bool crux_engine_step(crux_engine *e, double seconds) {
  crux_ready ready[64];
  int count;
  e->ended = false;
  /* what was just submitted is sent before anything is waited for */
  if (e->timer >= 0 && e->timer <= crux_now()) go_inside(e, NULL, 0);
  count = crux_poller_wait(&e->poller, time_to_wait(e, e->ended ? 0 : seconds), ready, 64);
  if (count < 0) return errno != EINTR;
  go_inside(e, ready, count);
  return true;
}
