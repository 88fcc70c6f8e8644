/* failing: wrappers of the functions that core.so calls and that can fail, one of which is made to fail.

   A core.so built for the host is linked with --wrap for each name below (the Makefile reads the
   names off these lines), so that core.so's calls, and no others, come here. All threads share one
   count, since the call that fails may be the worker's.

   This is a shared object, which core.so is linked with too: libgcc has a __wrap_pthread_create of
   its own, for split stacks, which the linker would not find. */
#define _GNU_SOURCE
#include "failing.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long fail_at = -1; /* negative: not counting */
static atomic_long calls;
static _Atomic(const char *) failed;

void failing_start(long n) {
  atomic_store(&calls, 0);
  atomic_store(&failed, NULL);
  atomic_store(&fail_at, n);
}

long failing_stop(const char **name) {
  atomic_store(&fail_at, -1);
  *name = atomic_load(&failed);
  return atomic_load(&calls);
}

static int fails(const char *name) {
  long n = atomic_load(&fail_at);
  if (n < 0 || atomic_fetch_add(&calls, 1) + 1 != n) return 0;
  atomic_store(&failed, name);
  errno = ENOMEM;
  return 1;
}

#define FAILS(name, type, failure, parameters, arguments) \
  type __wrap_##name parameters; \
  type __wrap_##name parameters { return fails(#name) ? (failure) : name arguments; }

FAILS(malloc, void *, NULL, (size_t size), (size))
FAILS(calloc, void *, NULL, (size_t count, size_t size), (count, size))
FAILS(realloc, void *, NULL, (void *old, size_t size), (old, size))
FAILS(strdup, char *, NULL, (const char *text), (text))
FAILS(fopen, FILE *, NULL, (const char *path, const char *mode), (path, mode))
FAILS(atexit, int, -1, (void (*function)(void)), (function))
FAILS(pthread_atfork, int, ENOMEM,
      (void (*prepare)(void), void (*parent)(void), void (*child)(void)), (prepare, parent, child))
FAILS(pthread_create, int, EAGAIN,
      (pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg),
      (thread, attr, run, arg))
FAILS(pthread_mutex_init, int, ENOMEM,
      (pthread_mutex_t *mutex, const pthread_mutexattr_t *attr), (mutex, attr))
FAILS(pthread_cond_init, int, ENOMEM,
      (pthread_cond_t *cond, const pthread_condattr_t *attr), (cond, attr))
FAILS(socket, int, -1, (int domain, int type, int protocol), (domain, type, protocol))
FAILS(bind, int, -1, (int fd, const struct sockaddr *address, socklen_t len), (fd, address, len))
FAILS(listen, int, -1, (int fd, int backlog), (fd, backlog))
FAILS(accept, int, -1, (int fd, struct sockaddr *address, socklen_t *len), (fd, address, len))
FAILS(mkdtemp, char *, NULL, (char *template), (template))
FAILS(fstat, int, -1, (int fd, struct stat *st), (fd, st))
FAILS(eventfd, int, -1, (unsigned count, int flags), (count, flags))
FAILS(epoll_create1, int, -1, (int flags), (flags))
FAILS(epoll_ctl, int, -1, (int epoll, int op, int fd, struct epoll_event *event), (epoll, op, fd, event))
FAILS(curl_global_init, CURLcode, CURLE_OUT_OF_MEMORY, (long flags), (flags))
FAILS(curl_easy_init, CURL *, NULL, (void), ())
FAILS(curl_easy_send, CURLcode, CURLE_OUT_OF_MEMORY,
      (CURL *easy, const void *data, size_t len, size_t *sent), (easy, data, len, sent))
FAILS(curl_easy_recv, CURLcode, CURLE_OUT_OF_MEMORY,
      (CURL *easy, void *data, size_t size, size_t *got), (easy, data, size, got))
FAILS(curl_multi_init, CURLM *, NULL, (void), ())
FAILS(curl_multi_add_handle, CURLMcode, CURLM_OUT_OF_MEMORY, (CURLM *multi, CURL *easy), (multi, easy))
FAILS(curl_multi_socket_action, CURLMcode, CURLM_OUT_OF_MEMORY,
      (CURLM *multi, curl_socket_t fd, int what, int *running), (multi, fd, what, running))
FAILS(curl_share_init, CURLSH *, NULL, (void), ())
FAILS(curl_url, CURLU *, NULL, (void), ())
FAILS(curl_url_get, CURLUcode, CURLUE_OUT_OF_MEMORY,
      (CURLU *url, CURLUPart part, char **value, unsigned flags), (url, part, value, flags))
FAILS(curl_url_set, CURLUcode, CURLUE_OUT_OF_MEMORY,
      (CURLU *url, CURLUPart part, const char *value, unsigned flags), (url, part, value, flags))

/* The third argument of these is a long or a pointer. */
#define FAILS_TO_SET(name, type, failure, handle_type, option_type, is_checked) \
  type __wrap_##name(handle_type handle, option_type option, ...); \
  type __wrap_##name(handle_type handle, option_type option, ...) { \
    void *value; \
    va_list arguments; \
    va_start(arguments, option); \
    value = va_arg(arguments, void *); \
    va_end(arguments); \
    return (is_checked) && fails(#name) ? (failure) : (name)(handle, option, value); \
  }

/* Options that only save or limit time: it does not matter if setting one fails. */
#if LIBCURL_VERSION_NUM >= 0x075700
#define IS_CHECKED (option != CURLOPT_TIMEOUT_MS && option != CURLOPT_QUICK_EXIT)
#else
#define IS_CHECKED (option != CURLOPT_TIMEOUT_MS)
#endif
#if LIBCURL_VERSION_NUM >= 0x081400
#define IS_CHECKED_OF_MULTI \
  (option != CURLMOPT_QUICK_EXIT && option != CURLMOPT_RESOLVE_THREADS_MAX)
#else
#define IS_CHECKED_OF_MULTI true
#endif

FAILS_TO_SET(curl_easy_setopt, CURLcode, CURLE_OUT_OF_MEMORY, CURL *, CURLoption, IS_CHECKED)
FAILS_TO_SET(curl_multi_setopt, CURLMcode, CURLM_OUT_OF_MEMORY, CURLM *, CURLMoption,
             IS_CHECKED_OF_MULTI)
FAILS_TO_SET(curl_share_setopt, CURLSHcode, CURLSHE_NOMEM, CURLSH *, CURLSHoption, true)
