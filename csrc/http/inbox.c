/* inbox: see inbox.h. */
#include "inbox.h"

#include "../os/process.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* What arrives is pushed and taken without a lock, so that an owner who may not wait does not
   wait for a worker that was pushed off its processor. The mutex is for whoever rings, and for
   an owner who does wait. */
struct crux_inbox {
  atomic_uint refs;
  _Atomic(crux_transfer *) arrived; /* the newest first; CLOSED in the end */
  crux_transfer *first, **last;     /* the owner's: those it has seen arrive, the oldest first */
  atomic_bool rung, waiting;
  pthread_mutex_t mutex;
  pthread_cond_t ended;
  crux_wakeup wakeup, *shared;          /* its own, and the one that is rung instead */
  unsigned generation;
};

static crux_transfer closed;
#define CLOSED (&closed)

static bool start(crux_inbox *i) {
  pthread_condattr_t attr;
  atomic_store(&i->arrived, NULL);
  i->first = NULL;
  i->last = &i->first;
  atomic_store(&i->rung, false);
  atomic_store(&i->waiting, false);
  i->shared = NULL;
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
  if (start(i)) return i;
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

/* Under the mutex, for who has set `rung`. */
static void ring(crux_inbox *i) { crux_wakeup_signal(i->shared ? i->shared : &i->wakeup); }

void crux_inbox_deliver(crux_inbox *i, crux_transfer *t) {
  crux_inbox_retain(i); /* the attempt's own hold on it may end as soon as it is pushed */
  atomic_store(&t->done, true);
  if (!push(i, t)) crux_transfer_release(t);
  else {
    bool is_first = !atomic_exchange(&i->rung, true), is_awaited = atomic_load(&i->waiting);
    if (is_first || is_awaited) {
      pthread_mutex_lock(&i->mutex);
      /* not for an owner who has taken it in between, and would never know to end the ringing */
      if (is_first && atomic_load(&i->rung)) ring(i);
      if (is_awaited) pthread_cond_signal(&i->ended);
      pthread_mutex_unlock(&i->mutex);
    }
  }
  crux_inbox_release(i);
}

bool crux_inbox_renew(crux_inbox *i) {
  bool was_closed = atomic_load(&i->arrived) == CLOSED;
  if (i->generation == crux_process_generation()) return false;
  /* what had arrived is the parent's to take */
  crux_wakeup_close(&i->wakeup);
  start(i);
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

static void take_out(crux_inbox *i, crux_transfer *t) {
  *t->inbox.link = t->inbox.next;
  if (t->inbox.next) t->inbox.next->inbox.link = t->inbox.link;
  else i->last = t->inbox.link;
  t->inbox.link = NULL;
}

/* Moves what has arrived, and is asked for, behind what is there. */
static void look(crux_inbox *i) {
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

/* Locks, with no fork in between that would leave a child with a locked mutex. */
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
  if (!i->first) look(i);
  t = i->first;
  if (t) take_out(i, t);
  return t;
}

void crux_inbox_forget(crux_inbox *i, crux_transfer *t) {
  t->inbox.number = 0;
  crux_inbox_renew(i);
  look(i);
  if (t->inbox.link) {
    take_out(i, t);
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
  /* without holding exit and fork up: a child's copy is made anew */
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
  if (i->wakeup.in.fd < 0 && crux_wakeup_open(&i->wakeup) && atomic_load(&i->rung))
    crux_wakeup_signal(&i->wakeup);
  fd = i->wakeup.in.fd;
  unlock(i);
  return fd;
}

void crux_inbox_notify(crux_inbox *i) {
  crux_inbox_renew(i);
  if (atomic_exchange(&i->rung, true)) return;
  lock(i);
  ring(i);
  unlock(i);
}

void crux_inbox_clear(crux_inbox *i) {
  crux_inbox_renew(i);
  if (!atomic_load(&i->rung) || crux_inbox_has_any(i)) return;
  crux_process_enter_at_exit();
  /* if somebody rings just now it is not for nothing */
  if (pthread_mutex_trylock(&i->mutex) == 0) {
    atomic_store(&i->rung, false);
    crux_wakeup_clear(&i->wakeup);
    if (crux_inbox_has_any(i) && !atomic_exchange(&i->rung, true)) ring(i);
    pthread_mutex_unlock(&i->mutex);
  }
  crux_process_leave();
}

void crux_inbox_redirect(crux_inbox *i, crux_wakeup *wakeup) {
  lock(i);
  i->shared = wakeup;
  if (atomic_load(&i->rung)) ring(i);
  unlock(i);
}

void crux_inbox_rearm(crux_inbox *i) {
  crux_inbox_renew(i);
  atomic_store(&i->rung, false);
}

crux_transfer *crux_inbox_take_all(crux_inbox *i) {
  crux_transfer *t;
  crux_inbox_rearm(i);
  look(i);
  t = i->first;
  while (i->first) take_out(i, i->first);
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
  i->shared = NULL;
  unlock(i);
}
