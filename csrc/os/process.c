/* process: see process.h. */
#define _GNU_SOURCE /* dladdr */
#include "process.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

static pthread_rwlock_t inside; /* read: inside libcurl; written: exit() or fork() */
static atomic_bool exiting;
static atomic_uint generation;
static _Atomic(void (*)(void)) exit_hook;

static void make_lock(void) {
  pthread_rwlockattr_t attr;
  pthread_rwlockattr_init(&attr);
#ifdef __GLIBC__
  /* else fork() would starve, since the worker's thread holds the lock nearly all the time */
  pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
  pthread_rwlock_init(&inside, &attr);
  pthread_rwlockattr_destroy(&attr);
}

/* Runs before OPENSSL_cleanup, which was registered earlier. From here on no thread is inside
   libcurl, and none can enter. */
static void at_exit(void) {
  void (*function)(void) = atomic_load(&exit_hook);
  atomic_store(&exiting, true);
  pthread_rwlock_wrlock(&inside);
  pthread_rwlock_unlock(&inside);
  if (function) function();
}

bool crux_process_is_exiting(void) { return atomic_load(&exiting); }

void crux_process_at_exit(void (*function)(void)) { atomic_store(&exit_hook, function); }

static void before_fork(void) { pthread_rwlock_wrlock(&inside); }

static void after_fork_in_parent(void) { pthread_rwlock_unlock(&inside); }

static void after_fork_in_child(void) {
  atomic_fetch_add(&generation, 1);
  make_lock();
}

/* Keeps the module mapped for good: its handlers and the worker's code may run after lua_close. */
static void pin_module(void) {
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
  pin_module();
  return true;
}

bool crux_process_enter(void) {
  pthread_rwlock_rdlock(&inside);
  if (!atomic_load(&exiting)) return true;
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
  /* a SIGPIPE can only be pending where it was blocked */
  s->was_pending = sigismember(&s->before, SIGPIPE) == 1 && sigpending(&set) == 0 &&
                   sigismember(&set, SIGPIPE) == 1;
}

/* Another thread may have consumed a process-directed signal since sigpending(2): so this must not
   wait for it. */
static void consume(const sigset_t *set) {
#if defined(__APPLE__) || defined(__OpenBSD__)
  int number;
  sigwait(set, &number);
#else
  static const struct timespec no_wait = { 0, 0 };
  sigtimedwait(set, NULL, &no_wait);
#endif
}

void crux_sigpipe_restore(crux_sigpipe *s) {
  sigset_t set;
  if (!s->was_pending) {
    sigpending(&set);
    if (sigismember(&set, SIGPIPE) == 1) {
      sigemptyset(&set);
      sigaddset(&set, SIGPIPE);
      consume(&set);
    }
  }
  pthread_sigmask(SIG_SETMASK, &s->before, NULL);
}

double crux_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
