/* process: see process.h. */
#define _GNU_SOURCE /* dladdr */
#include "process.h"

#include "descriptor.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

static pthread_rwlock_t inside;
static atomic_bool ending;
static atomic_uint generation;
static _Atomic(void (*)(void)) exit_hook;

static void make_lock(void) {
  pthread_rwlockattr_t attr;
  pthread_rwlockattr_init(&attr);
#ifdef __GLIBC__
  /* a fork must not starve behind a worker that is hardly ever outside */
  pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
  pthread_rwlock_init(&inside, &attr);
  pthread_rwlockattr_destroy(&attr);
}

/* Runs before OPENSSL_cleanup, which was registered earlier: from here on nobody is inside libcurl,
   and nobody enters. */
static void at_exit(void) {
  void (*function)(void) = atomic_load(&exit_hook);
  atomic_store(&ending, true);
  pthread_rwlock_wrlock(&inside);
  pthread_rwlock_unlock(&inside);
  if (function) function();
}

bool crux_process_is_exiting(void) { return atomic_load(&ending); }

void crux_process_at_exit(void (*function)(void)) { atomic_store(&exit_hook, function); }

static void before_fork(void) {
  pthread_rwlock_wrlock(&inside);
  crux_descriptors_before_fork();
}

static void after_fork_in_parent(void) {
  crux_descriptors_after_fork(false);
  pthread_rwlock_unlock(&inside);
}

static void after_fork_in_child(void) {
  atomic_fetch_add(&generation, 1);
  crux_descriptors_after_fork(true);
  make_lock();
}

/* The module stays mapped for good: its handlers, and a worker's code, may run after lua_close. */
static void pin(void) {
#ifdef RTLD_NODELETE
  Dl_info here;
  if (dladdr((void *)&inside, &here) && here.dli_fname)
    dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
#endif
}

bool crux_process_init(void) {
  make_lock();
  if (atexit(at_exit) != 0) return false;
  if (pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) != 0) return false;
  pin();
  return true;
}

bool crux_process_enter(void) {
  pthread_rwlock_rdlock(&inside);
  if (!atomic_load(&ending)) return true;
  pthread_rwlock_unlock(&inside);
  return false;
}

void crux_process_enter_at_exit(void) { pthread_rwlock_rdlock(&inside); }

void crux_process_leave(void) { pthread_rwlock_unlock(&inside); }

unsigned crux_process_generation(void) { return atomic_load(&generation); }

void crux_sigpipe_block(crux_sigpipe *s) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &set, &s->before);
  /* where it was not blocked, none can have been pending */
  s->was_pending = sigismember(&s->before, SIGPIPE) == 1 && sigpending(&set) == 0 &&
                   sigismember(&set, SIGPIPE) == 1;
}

/* One sent to the process may have been taken by another thread since it was seen pending: not
   to be waited for. */
static void take(const sigset_t *set) {
#if defined(__APPLE__) || defined(__OpenBSD__)
  int taken;
  sigwait(set, &taken);
#else
  static const struct timespec at_once = { 0, 0 };
  sigtimedwait(set, NULL, &at_once);
#endif
}

void crux_sigpipe_restore(crux_sigpipe *s) {
  sigset_t set;
  if (!s->was_pending) {
    sigpending(&set);
    if (sigismember(&set, SIGPIPE) == 1) {
      sigemptyset(&set);
      sigaddset(&set, SIGPIPE);
      take(&set);
    }
  }
  pthread_sigmask(SIG_SETMASK, &s->before, NULL);
}

double crux_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
