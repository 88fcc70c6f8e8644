#define _GNU_SOURCE /* dladdr */
#include "process.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_rwlock_t inside;
static atomic_bool ending;
static atomic_uint generation;
static atomic_uint assumed_version;
static _Atomic(void (*)(void)) last_words;
static bool started;

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

/* Runs before OPENSSL_cleanup, which was registered earlier: from here on nobody is inside libcurl, and nobody enters. */
static void at_exit(void) {
  void (*function)(void) = atomic_load(&last_words);
  atomic_store(&ending, true);
  pthread_rwlock_wrlock(&inside);
  pthread_rwlock_unlock(&inside);
  if (function) function();
}

void crux_process_at_exit(void (*function)(void)) { atomic_store(&last_words, function); }

static void before_fork(void) { pthread_rwlock_wrlock(&inside); }

static void after_fork_in_parent(void) { pthread_rwlock_unlock(&inside); }

static void after_fork_in_child(void) {
  atomic_fetch_add(&generation, 1);
  make_lock();
}

/* The module stays mapped for good: its handlers, and a worker's code, may run after lua_close. */
static void pin(void) {
#ifdef RTLD_NODELETE
  Dl_info here;
  if (dladdr((void *)&once, &here) && here.dli_fname) dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
#endif
}

static void start(void) {
  make_lock();
  started = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK && atexit(at_exit) == 0 &&
            pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
  if (started) pin();
}

bool crux_process_init(void) {
  pthread_once(&once, start);
  return started;
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

unsigned crux_process_curl_version(void) {
  unsigned assumed = atomic_load_explicit(&assumed_version, memory_order_relaxed);
  static atomic_uint known;
  unsigned version = atomic_load_explicit(&known, memory_order_relaxed);
  if (assumed) return assumed;
  if (!version) {
    version = curl_version_info(CURLVERSION_NOW)->version_num;
    atomic_store_explicit(&known, version, memory_order_relaxed);
  }
  return version;
}

void crux_process_assume_curl(unsigned version) { atomic_store(&assumed_version, version); }

void crux_sigpipe_block(crux_sigpipe *s) {
  sigset_t set;
  sigpending(&set);
  s->was_pending = sigismember(&set, SIGPIPE) == 1;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &set, &s->before);
}

/* One sent to the process may have been taken by another thread since it was seen pending: not to be waited for. */
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
