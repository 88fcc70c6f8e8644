#include "inbox.h"

#include "process.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct crux_inbox {
  atomic_uint refs;
  pthread_mutex_t mutex;
  pthread_cond_t ended;
  crux_transfer *first, **last;
  crux_wake wake, *shared; /* its own, and the one that is rung instead */
  bool rung, closed;
  unsigned generation;
};

static bool start(crux_inbox *i) {
  pthread_condattr_t attr;
  i->first = NULL;
  i->last = &i->first;
  i->rung = false;
  i->shared = NULL;
  i->wake.in = i->wake.out = -1;
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
  crux_wake_close(&i->wake);
  pthread_cond_destroy(&i->ended);
  pthread_mutex_destroy(&i->mutex);
  free(i);
}

/* Under the mutex. */
static void ring(crux_inbox *i) {
  if (i->rung) return;
  i->rung = true;
  crux_wake_ring(i->shared ? i->shared : &i->wake);
}

void crux_inbox_deliver(crux_inbox *i, crux_transfer *t) {
  bool closed;
  pthread_mutex_lock(&i->mutex);
  closed = i->closed;
  t->queued = NULL;
  if (!closed) {
    *i->last = t;
    i->last = &t->queued;
    ring(i);
  }
  atomic_store(&t->done, true);
  pthread_cond_signal(&i->ended);
  pthread_mutex_unlock(&i->mutex);
  if (closed) crux_transfer_release(t);
}

bool crux_inbox_renew(crux_inbox *i) {
  bool closed = i->closed;
  if (i->generation == crux_process_generation()) return false;
  /* what had arrived is the parent's to take */
  crux_wake_close(&i->wake);
  start(i);
  i->closed = closed;
  return true;
}

/* Locks, with no fork in between that would leave a child with a locked mutex. */
static void lock(crux_inbox *i) {
  crux_inbox_renew(i);
  crux_process_hold();
  pthread_mutex_lock(&i->mutex);
}

static void unlock(crux_inbox *i) {
  pthread_mutex_unlock(&i->mutex);
  crux_process_leave();
}

crux_transfer *crux_inbox_take(crux_inbox *i) {
  crux_transfer *t;
  lock(i);
  t = i->first;
  if (t) {
    i->first = t->queued;
    if (!i->first) i->last = &i->first;
  }
  unlock(i);
  return t;
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
  while (!(ended = t ? atomic_load(&t->done) : i->first != NULL) && status == 0)
    status = pthread_cond_timedwait(&i->ended, &i->mutex, &until);
  pthread_mutex_unlock(&i->mutex);
  return ended;
}

int crux_inbox_fd(crux_inbox *i) {
  int fd;
  lock(i);
  if (i->wake.in < 0 && crux_wake_open(&i->wake) && i->rung) crux_wake_ring(&i->wake);
  fd = i->wake.in;
  unlock(i);
  return fd;
}

void crux_inbox_ring(crux_inbox *i) {
  lock(i);
  ring(i);
  unlock(i);
}

void crux_inbox_quiet(crux_inbox *i) {
  lock(i);
  if (i->rung && !i->first) {
    i->rung = false;
    crux_wake_clear(&i->wake);
  }
  unlock(i);
}

void crux_inbox_share(crux_inbox *i, crux_wake *wake) {
  lock(i);
  i->shared = wake;
  if (i->rung) crux_wake_ring(wake ? wake : &i->wake);
  unlock(i);
}

crux_transfer *crux_inbox_take_all(crux_inbox *i) {
  crux_transfer *t;
  lock(i);
  t = i->first;
  i->first = NULL;
  i->last = &i->first;
  i->rung = false;
  unlock(i);
  return t;
}

void crux_inbox_close(crux_inbox *i) {
  crux_transfer *t;
  lock(i);
  i->closed = true;
  t = i->first;
  i->first = NULL;
  i->last = &i->first;
  crux_wake_close(&i->wake);
  unlock(i);
  while (t) {
    crux_transfer *next = t->queued;
    crux_transfer_release(t);
    t = next;
  }
}
