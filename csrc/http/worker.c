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
  atomic_bool signalled;        /* the wakeup is, or is about to be */
  atomic_uint signalling;       /* threads that are in crux_wakeup_signal without the mutex */
  unsigned generation;          /* see crux_process_generation */
  /* the rest is protected by the mutex below */
  crux_transfer *submitted;     /* linked by `worker.next_submitted`, the oldest first */
  crux_transfer **submitted_end; /* where the next one is linked */
  crux_transfer *aborted;       /* linked by `worker.next_aborted` */
  bool stopped;                 /* the thread must end */
  bool has_previous;            /* `previous` was stopped before this thread, which joins it */
  pthread_t previous;
} worker;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static worker *current; /* the one that gets new attempts; NULL: none */
static unsigned users;  /* see crux_worker_acquire */

/* The most recently stopped thread. The next one to stop joins it, or atexit does, so that stopping
   never blocks the caller. */
static struct {
  bool exists;
  pthread_t thread;
  unsigned generation;
} last_stopped;

/* Locks the mutex, and keeps fork() out meanwhile: a child must not get a locked mutex. */
static void lock(void) {
  crux_process_enter_at_exit();
  pthread_mutex_lock(&mutex);
}

static void unlock(void) {
  pthread_mutex_unlock(&mutex);
  crux_process_leave();
}

static void on_done(crux_transfer *t, void *context) {
  (void)context;
  crux_inbox_deliver(t->inbox.owner, t);
}

static void release_owner(void *owner) { crux_inbox_release(owner); }

/* Call it when no other thread can use the worker any more. */
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

/* Ends an attempt that the engine never got, since exit() has begun. */
static void fail_at_exit(crux_transfer *t) {
  crux_transfer_fail(t, CRUX_CAUSE_EXITING);
  crux_inbox_deliver(t->inbox.owner, t);
}

static void drop_aborted(worker *w, crux_transfer *aborted, bool stopped) {
  while (aborted) {
    crux_transfer *t = aborted;
    aborted = t->worker.next_aborted;
    if (!stopped && !atomic_load(&t->done)) {
      atomic_store(&t->done, true);
      crux_engine_drop(w->engine, t);
    }
    crux_transfer_release(t);
  }
}

/* Carries out what was submitted and aborted since the last time. False: the thread must end. */
static bool run_orders(worker *w) {
  crux_transfer *submitted, *aborted;
  bool exiting = !crux_process_enter(), stopped;
  if (exiting) crux_process_enter_at_exit();
  atomic_store(&w->signalled, false);
  pthread_mutex_lock(&mutex);
  submitted = w->submitted;
  w->submitted = NULL;
  w->submitted_end = &w->submitted;
  aborted = w->aborted;
  w->aborted = NULL;
  stopped = w->stopped || exiting;
  pthread_mutex_unlock(&mutex);
  crux_process_leave();
  while (submitted) {
    crux_transfer *t = submitted;
    submitted = t->worker.next_submitted;
    if (exiting) fail_at_exit(t);
    else if (stopped) crux_transfer_release(t);
    else crux_engine_submit(w->engine, t);
  }
  drop_aborted(w, aborted, stopped);
  if (exiting) crux_engine_fail_all(w->engine);
  return !stopped;
}

static void signal_thread(worker *w) {
  if (!atomic_exchange(&w->signalled, true)) crux_wakeup_signal(&w->wakeup);
}

/* The caller must join the thread. Call this and `stop` under the mutex. */
static bool take_last_stopped(pthread_t *thread) {
  bool exists = last_stopped.exists && last_stopped.generation == crux_process_generation();
  *thread = last_stopped.thread;
  last_stopped.exists = false;
  return exists;
}

static void stop(worker *w) {
  if (w->stopped) return;
  w->has_previous = take_last_stopped(&w->previous);
  last_stopped.exists = true;
  last_stopped.thread = w->thread;
  last_stopped.generation = w->generation;
  w->stopped = true;
  if (current == w) current = NULL;
  signal_thread(w);
}

static void *run(void *p) {
  worker *w = p;
  pthread_t previous;
  bool has_previous;
  do crux_engine_step(w->engine, -1);
  while (run_orders(w));
  lock();
  stop(w); /* exit() ends this loop too */
  has_previous = w->has_previous;
  previous = w->previous;
  unlock();
  while (atomic_load(&w->signalling) > 0) sched_yield();
  free_worker(w);
  if (has_previous) pthread_join(previous, NULL);
  return NULL;
}

static bool start_thread(worker *w) {
  sigset_t all, before;
  bool ok;
  /* signals are for the threads of the host */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  ok = pthread_create(&w->thread, NULL, run, w) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return ok;
}

/* The current worker of this process; call it under the mutex. After a fork the parent's thread
   does not exist here, but its descriptors do. */
static worker *current_worker(void) {
  if (current && current->generation != crux_process_generation()) {
    free_worker(current);
    current = NULL;
  }
  return current;
}

/* The exit handler: no thread is inside libcurl, and none can enter. Joins the worker's thread, so
   that OpenSSL is not torn down while it runs. The thread does not wait for the network any
   more. */
static void at_exit(void) {
  pthread_t last;
  bool exists;
  pthread_mutex_lock(&mutex);
  if (current_worker()) stop(current);
  exists = take_last_stopped(&last);
  pthread_mutex_unlock(&mutex);
  if (exists) pthread_join(last, NULL);
}

static worker *new_worker(void) {
  worker *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  w->submitted_end = &w->submitted;
  w->generation = crux_process_generation();
  if (crux_wakeup_open(&w->wakeup)) {
    w->engine = crux_engine_new(on_done, w, &w->wakeup);
    crux_process_at_exit(at_exit);
    if (w->engine && start_thread(w)) return w;
  }
  free_worker(w);
  return NULL;
}

void crux_worker_acquire(void) {
  lock();
  users++;
  unlock();
}

void crux_worker_release(void) {
  lock();
  if (--users == 0 && current_worker()) stop(current);
  unlock();
}

/* The current worker, or a new one; the mutex is locked before and afterwards. NULL without memory,
   threads or descriptors: the mutex is not locked then. */
static worker *ensure_worker(void) {
  worker *made;
  if (current_worker()) return current;
  unlock(); /* crux_engine_new and crux_engine_free take the process-wide lock themselves */
  made = new_worker();
  if (!made) return NULL;
  lock();
  if (!current_worker()) current = made;
  else stop(made);
  return current;
}

bool crux_worker_submit(crux_transfer *t, crux_inbox *inbox) {
  worker *w;
  bool signals;
  t->inbox.owner = crux_inbox_retain(inbox);
  t->inbox.release_owner = release_owner;
  if (crux_process_is_exiting()) {
    fail_at_exit(crux_transfer_retain(t));
    return true;
  }
  lock();
  w = ensure_worker();
  if (!w) return false;
  t->worker.next_submitted = NULL;
  *w->submitted_end = crux_transfer_retain(t);
  w->submitted_end = &t->worker.next_submitted;
  signals = !atomic_exchange(&w->signalled, true);
  if (signals) atomic_fetch_add(&w->signalling, 1);
  pthread_mutex_unlock(&mutex);
  if (signals) {
    /* without the mutex, which the thread locks first when it wakes up */
    crux_wakeup_signal(&w->wakeup);
    atomic_fetch_sub(&w->signalling, 1);
  }
  crux_process_leave();
  return true;
}

void crux_worker_abort(crux_transfer *first) {
  worker *w;
  lock();
  w = current_worker();
  while (first) {
    crux_transfer *t = first;
    first = t->worker.next_aborted;
    if (w) {
      t->worker.next_aborted = w->aborted;
      w->aborted = t;
    } else crux_transfer_release(t);
  }
  if (w && w->aborted) signal_thread(w);
  unlock();
}
