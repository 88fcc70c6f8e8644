/* worker: see worker.h. */
#include "worker.h"

#include "engine.h"
#include "../os/process.h"
#include "../os/wakeup.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>

typedef struct {
  pthread_t thread;
  crux_engine *engine;
  crux_wakeup wakeup;
  atomic_bool rung;
  atomic_uint ringing; /* those who ring at the moment */
  unsigned generation;
  /* under the mutex below */
  crux_transfer *submitted, **last;
  crux_transfer *aborted;
  bool ending;
  bool joins; /* a thread that was told to end before this one */
  pthread_t before;
} worker;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static worker *current;
static unsigned users;

/* The last thread that was told to end, which somebody has to join: the next such, or the end
   of the process. */
static struct {
  bool any;
  pthread_t thread;
  unsigned generation;
} retired;

static void on_done(crux_transfer *t, void *context) {
  (void)context;
  crux_inbox_deliver(t->inbox.owner, t);
}

static void release_owner(void *owner) { crux_inbox_release(owner); }

/* When nobody can give it orders any more. */
static void free_worker(worker *w) {
  while (w->submitted) {
    crux_transfer *t = w->submitted;
    w->submitted = t->worker.next_submitted;
    crux_transfer_release(t);
  }
  while (w->aborted) {
    crux_transfer *t = w->aborted;
    w->aborted = t->worker.next_aborted;
    crux_transfer_release(t);
  }
  crux_engine_free(w->engine);
  crux_wakeup_close(&w->wakeup);
  free(w);
}

/* Ends what the engine never got to see, since exit() has begun. */
static void fail(crux_transfer *t) {
  crux_transfer_fail(t, CRUX_CAUSE_EXITING);
  crux_inbox_deliver(t->inbox.owner, t);
}

static void run_aborted(worker *w, crux_transfer *aborted, bool ending) {
  while (aborted) {
    crux_transfer *t = aborted;
    aborted = t->worker.next_aborted;
    if (!ending && !atomic_load(&t->done)) {
      atomic_store(&t->done, true);
      crux_engine_drop(w->engine, t);
    }
    crux_transfer_release(t);
  }
}

/* Carries out what was asked since the last time. False: the thread has to end. */
static bool run_orders(worker *w) {
  crux_transfer *submitted, *aborted;
  bool exiting = !crux_process_enter(), ending;
  if (exiting) crux_process_enter_at_exit();
  atomic_store(&w->rung, false);
  pthread_mutex_lock(&mutex);
  submitted = w->submitted;
  w->submitted = NULL;
  w->last = &w->submitted;
  aborted = w->aborted;
  w->aborted = NULL;
  ending = w->ending || exiting;
  pthread_mutex_unlock(&mutex);
  crux_process_leave();
  while (submitted) {
    crux_transfer *t = submitted;
    submitted = t->worker.next_submitted;
    if (exiting) fail(t);
    else if (ending) crux_transfer_release(t);
    else crux_engine_submit(w->engine, t);
  }
  run_aborted(w, aborted, ending);
  if (exiting) crux_engine_fail_all(w->engine);
  return !ending;
}

static void ring(worker *w) {
  if (!atomic_exchange(&w->rung, true)) crux_wakeup_signal(&w->wakeup);
}

/* Under the mutex, as the next. */
static bool take_retired(pthread_t *thread) {
  bool any = retired.any && retired.generation == crux_process_generation();
  *thread = retired.thread;
  retired.any = false;
  return any;
}

static void retire(worker *w) {
  if (w->ending) return;
  w->joins = take_retired(&w->before);
  retired.any = true;
  retired.thread = w->thread;
  retired.generation = w->generation;
  w->ending = true;
  if (current == w) current = NULL;
  ring(w);
}

static void *run(void *p) {
  worker *w = p;
  pthread_t before;
  bool joins;
  do crux_engine_step(w->engine, -1);
  while (run_orders(w));
  crux_process_enter_at_exit();
  pthread_mutex_lock(&mutex);
  retire(w); /* unless it is so by now: the process ends */
  joins = w->joins;
  before = w->before;
  pthread_mutex_unlock(&mutex);
  crux_process_leave();
  while (atomic_load(&w->ringing) > 0) sched_yield();
  free_worker(w);
  if (joins) pthread_join(before, NULL);
  return NULL;
}

static bool start_thread(worker *w) {
  sigset_t all, before;
  bool ok;
  /* the host's signals are the host's */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  ok = pthread_create(&w->thread, NULL, run, w) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return ok;
}

/* Under the mutex: the thread of this process. A parent's is not here; its descriptors are,
   until they are closed. */
static worker *ours(void) {
  if (current && current->generation != crux_process_generation()) {
    free_worker(current);
    current = NULL;
  }
  return current;
}

/* Nobody is inside libcurl any more, nor can anybody go. A thread that ends leaves OpenSSL in
   peace before OpenSSL is torn down; and the one that is told to end now has nothing left to
   wait for. */
static void at_exit(void) {
  pthread_t last;
  bool any;
  pthread_mutex_lock(&mutex);
  if (ours()) retire(current);
  any = take_retired(&last);
  pthread_mutex_unlock(&mutex);
  if (any) pthread_join(last, NULL);
}

static worker *new_worker(void) {
  worker *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  w->last = &w->submitted;
  w->generation = crux_process_generation();
  if (crux_wakeup_open(&w->wakeup)) {
    w->engine = crux_engine_new(on_done, w, &w->wakeup);
    crux_process_at_exit(at_exit);
    if (w->engine && start_thread(w)) return w;
  } else w->wakeup.in.fd = w->wakeup.out.fd = -1;
  free_worker(w);
  return NULL;
}

void crux_worker_acquire(void) {
  crux_process_enter_at_exit();
  pthread_mutex_lock(&mutex);
  users++;
  pthread_mutex_unlock(&mutex);
  crux_process_leave();
}

void crux_worker_release(void) {
  crux_process_enter_at_exit();
  pthread_mutex_lock(&mutex);
  if (--users == 0 && ours()) retire(current);
  pthread_mutex_unlock(&mutex);
  crux_process_leave();
}

bool crux_worker_submit(crux_transfer *t, crux_inbox *inbox) {
  worker *w;
  bool rings = false;
  t->inbox.owner = crux_inbox_retain(inbox);
  t->inbox.release_owner = release_owner;
  if (crux_process_is_exiting()) {
    fail(crux_transfer_retain(t));
    return true;
  }
  crux_process_enter_at_exit();
  pthread_mutex_lock(&mutex);
  w = ours();
  if (!w) {
    worker *made;
    pthread_mutex_unlock(&mutex);
    crux_process_leave();
    /* the engine goes inside by itself, so it must be made outside */
    made = new_worker();
    if (!made) return false;
    crux_process_enter_at_exit();
    pthread_mutex_lock(&mutex);
    if (!ours()) current = made;
    else retire(made);
    w = current;
  }
  t->worker.next_submitted = NULL;
  *w->last = crux_transfer_retain(t);
  w->last = &t->worker.next_submitted;
  rings = !atomic_exchange(&w->rung, true);
  if (rings) atomic_fetch_add(&w->ringing, 1);
  pthread_mutex_unlock(&mutex);
  if (rings) {
    /* outside the mutex, which is the first that the thread wants when it wakes */
    crux_wakeup_signal(&w->wakeup);
    atomic_fetch_sub(&w->ringing, 1);
  }
  crux_process_leave();
  return true;
}

void crux_worker_abort(crux_transfer *first) {
  worker *w;
  crux_process_enter_at_exit();
  pthread_mutex_lock(&mutex);
  w = ours();
  while (first) {
    crux_transfer *t = first;
    first = t->worker.next_aborted;
    if (w) {
      t->worker.next_aborted = w->aborted;
      w->aborted = t;
    } else crux_transfer_release(t);
  }
  if (w && w->aborted) ring(w);
  pthread_mutex_unlock(&mutex);
  crux_process_leave();
}
