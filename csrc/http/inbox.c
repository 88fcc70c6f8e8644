/* inbox: a lock-free stack that the worker pushes to, and the list that the owner takes from. */
#include "inbox.h"

#include "../os/process.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* Attempts are pushed and taken without a lock: a worker that is preempted while it holds a lock
   would block an owner that must not block. The mutex is only for signalling the descriptor and
   for an owner that waits. */
struct crux_inbox {
  atomic_uint refs;
  _Atomic(crux_transfer *) arrived; /* the stack, newest first; CLOSED once it is closed */
  crux_transfer *first, **last;     /* the owner's list, oldest first: what was on the stack */
  atomic_bool signalled;            /* the descriptor is, or is about to be, readable */
  atomic_bool waiting;              /* the owner waits for `ended` */
  pthread_mutex_t mutex;
  pthread_cond_t ended;
  crux_wakeup wakeup;               /* its descriptor, once somebody has asked for it */
  crux_wakeup *redirected;          /* signalled instead of `wakeup`, or NULL */
  unsigned generation;
};

static crux_transfer closed;
#define CLOSED (&closed)

static bool init(crux_inbox *i) {
  pthread_condattr_t attr;
  atomic_store(&i->arrived, NULL);
  i->first = NULL;
  i->last = &i->first;
  atomic_store(&i->signalled, false);
  atomic_store(&i->waiting, false);
  i->redirected = NULL;
  i->wakeup.in.fd = i->wakeup.out.fd = -1;
  i->generation = crux_process_generation();
  if (pthread_mutex_init(&i->mutex, NULL) != 0) return false;
  pthread_condattr_init(&attr);
#ifndef __APPLE__
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
#endif
  if (pthread_cond_init(&i->ended, &attr) == 0) {
    pthread_condattr_destroy(&attr);
    return true;
  }
  pthread_condattr_destroy(&attr);
  pthread_mutex_destroy(&i->mutex);
  return false;
}

crux_inbox *crux_inbox_new(void) {
  crux_inbox *i = calloc(1, sizeof *i);
  if (!i) return NULL;
  atomic_init(&i->refs, 1);
  if (init(i)) return i;
  free(i);
  return NULL;
}

crux_inbox *crux_inbox_retain(crux_inbox *i) {
  atomic_fetch_add(&i->refs, 1);
  return i;
}

void crux_inbox_release(crux_inbox *i) {
  if (!i || atomic_fetch_sub(&i->refs, 1) != 1) return;
  crux_wakeup_close(&i->wakeup);
  pthread_cond_destroy(&i->ended);
  pthread_mutex_destroy(&i->mutex);
  free(i);
}

static bool push(crux_inbox *i, crux_transfer *t) {
  crux_transfer *before = atomic_load(&i->arrived);
  do {
    if (before == CLOSED) return false;
    t->inbox.next = before;
  } while (!atomic_compare_exchange_weak(&i->arrived, &before, t));
  return true;
}

/* Called with the mutex locked, by whoever has set `signalled`. */
static void signal_owner(crux_inbox *i) {
  crux_wakeup_signal(i->redirected ? i->redirected : &i->wakeup);
}

void crux_inbox_deliver(crux_inbox *i, crux_transfer *t) {
  crux_inbox_retain(i); /* once pushed, the attempt may be released, and its reference to `i` */
  atomic_store(&t->done, true);
  if (!push(i, t)) crux_transfer_release(t);
  else {
    bool is_first = !atomic_exchange(&i->signalled, true), is_awaited = atomic_load(&i->waiting);
    if (is_first || is_awaited) {
      pthread_mutex_lock(&i->mutex);
      /* the owner may have taken the attempt and cleared the signal meanwhile */
      if (is_first && atomic_load(&i->signalled)) signal_owner(i);
      if (is_awaited) pthread_cond_signal(&i->ended);
      pthread_mutex_unlock(&i->mutex);
    }
  }
  crux_inbox_release(i);
}

bool crux_inbox_renew(crux_inbox *i) {
  bool was_closed = atomic_load(&i->arrived) == CLOSED;
  if (i->generation == crux_process_generation()) return false;
  /* what has arrived belongs to the parent */
  crux_wakeup_close(&i->wakeup);
  init(i);
  if (was_closed) atomic_store(&i->arrived, CLOSED);
  return true;
}

bool crux_inbox_has_any(crux_inbox *i) { return i->first || atomic_load(&i->arrived); }

static void append(crux_inbox *i, crux_transfer *t) {
  t->inbox.next = NULL;
  t->inbox.link = i->last;
  *i->last = t;
  i->last = &t->inbox.next;
}

static void unlink_transfer(crux_inbox *i, crux_transfer *t) {
  *t->inbox.link = t->inbox.next;
  if (t->inbox.next) t->inbox.next->inbox.link = t->inbox.link;
  else i->last = t->inbox.link;
  t->inbox.link = NULL;
}

/* Moves the attempts on the stack to the end of the list, without those that were forgotten. */
static void drain(crux_inbox *i) {
  crux_transfer *newest = atomic_exchange(&i->arrived, NULL), *oldest = NULL;
  while (newest) {
    crux_transfer *older = newest->inbox.next;
    newest->inbox.next = oldest;
    oldest = newest;
    newest = older;
  }
  while (oldest) {
    crux_transfer *t = oldest;
    oldest = t->inbox.next;
    if (t->inbox.number == 0) crux_transfer_release(t);
    else append(i, t);
  }
}

/* Locks the mutex, and delays fork() meanwhile: a child would get a mutex locked for ever. */
static void lock(crux_inbox *i) {
  crux_inbox_renew(i);
  crux_process_enter_at_exit();
  pthread_mutex_lock(&i->mutex);
}

static void unlock(crux_inbox *i) {
  pthread_mutex_unlock(&i->mutex);
  crux_process_leave();
}

crux_transfer *crux_inbox_take(crux_inbox *i) {
  crux_transfer *t;
  crux_inbox_renew(i);
  if (!i->first) drain(i);
  t = i->first;
  if (t) unlink_transfer(i, t);
  return t;
}

void crux_inbox_forget(crux_inbox *i, crux_transfer *t) {
  t->inbox.number = 0;
  crux_inbox_renew(i);
  drain(i);
  if (t->inbox.link) {
    unlink_transfer(i, t);
    crux_transfer_release(t);
  }
}

bool crux_inbox_wait(crux_inbox *i, const crux_transfer *t, double seconds) {
  struct timespec until;
  double whole;
  bool ended;
  int status = 0;
#ifdef __APPLE__
  clock_gettime(CLOCK_REALTIME, &until);
#else
  clock_gettime(CLOCK_MONOTONIC, &until);
#endif
  whole = (double)until.tv_nsec / 1e9 + (seconds < 1e6 ? seconds : 1e6);
  until.tv_sec += (time_t)whole;
  until.tv_nsec = (long)((whole - (double)(time_t)whole) * 1e9);
  crux_inbox_renew(i);
  /* not lock(): waiting must not delay exit() and fork(), and crux_inbox_renew makes the mutex of
     a child anew */
  pthread_mutex_lock(&i->mutex);
  atomic_store(&i->waiting, true);
  while (!(ended = t ? atomic_load(&t->done) : crux_inbox_has_any(i)) && status == 0)
    status = pthread_cond_timedwait(&i->ended, &i->mutex, &until);
  atomic_store(&i->waiting, false);
  pthread_mutex_unlock(&i->mutex);
  return ended;
}

int crux_inbox_fd(crux_inbox *i) {
  int fd;
  lock(i);
  if (i->wakeup.in.fd < 0 && crux_wakeup_open(&i->wakeup) && atomic_load(&i->signalled))
    crux_wakeup_signal(&i->wakeup);
  fd = i->wakeup.in.fd;
  unlock(i);
  return fd;
}

void crux_inbox_notify(crux_inbox *i) {
  crux_inbox_renew(i);
  if (atomic_exchange(&i->signalled, true)) return;
  lock(i);
  signal_owner(i);
  unlock(i);
}

void crux_inbox_clear(crux_inbox *i) {
  crux_inbox_renew(i);
  if (!atomic_load(&i->signalled) || crux_inbox_has_any(i)) return;
  crux_process_enter_at_exit();
  /* if it is locked, somebody is just about to signal */
  if (pthread_mutex_trylock(&i->mutex) == 0) {
    atomic_store(&i->signalled, false);
    crux_wakeup_clear(&i->wakeup);
    if (crux_inbox_has_any(i) && !atomic_exchange(&i->signalled, true)) signal_owner(i);
    pthread_mutex_unlock(&i->mutex);
  }
  crux_process_leave();
}

void crux_inbox_redirect(crux_inbox *i, crux_wakeup *wakeup) {
  lock(i);
  i->redirected = wakeup;
  if (atomic_load(&i->signalled)) signal_owner(i);
  unlock(i);
}

void crux_inbox_rearm(crux_inbox *i) {
  crux_inbox_renew(i);
  atomic_store(&i->signalled, false);
}

crux_transfer *crux_inbox_take_all(crux_inbox *i) {
  crux_transfer *t;
  crux_inbox_rearm(i);
  drain(i);
  t = i->first;
  while (i->first) unlink_transfer(i, i->first);
  return t;
}

static void release_all(crux_transfer *t) {
  while (t) {
    crux_transfer *next = t->inbox.next;
    t->inbox.link = NULL;
    crux_transfer_release(t);
    t = next;
  }
}

void crux_inbox_close(crux_inbox *i) {
  lock(i);
  release_all(atomic_exchange(&i->arrived, CLOSED));
  release_all(i->first);
  i->first = NULL;
  i->last = &i->first;
  crux_wakeup_close(&i->wakeup);
  i->redirected = NULL;
  unlock(i);
}
