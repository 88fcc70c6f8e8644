/*
** Stand-ins for what crux's C code calls and what may fail for want of something. A core.so built for the host is
** linked with --wrap for each name below (the Makefile reads them off these lines), so that its calls, and nobody
** else's, come through here. All threads share one count: the call that fails may be the worker's.
*/
#define _GNU_SOURCE
#include "failing.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
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
FAILS(strndup, char *, NULL, (const char *text, size_t size), (text, size))
FAILS(pthread_create, int, EAGAIN,
      (pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg), (thread, attr, run, arg))
FAILS(pipe, int, -1, (int ends[2]), (ends))
FAILS(pipe2, int, -1, (int ends[2], int flags), (ends, flags))
FAILS(socketpair, int, -1, (int domain, int type, int protocol, int ends[2]), (domain, type, protocol, ends))
FAILS(socket, int, -1, (int domain, int type, int protocol), (domain, type, protocol))
FAILS(eventfd, int, -1, (unsigned count, int flags), (count, flags))
FAILS(epoll_create1, int, -1, (int flags), (flags))
FAILS(epoll_ctl, int, -1, (int epoll, int op, int fd, struct epoll_event *event), (epoll, op, fd, event))
FAILS(curl_easy_init, CURL *, NULL, (void), ())
FAILS(curl_easy_duphandle, CURL *, NULL, (CURL *easy), (easy))
FAILS(curl_multi_init, CURLM *, NULL, (void), ())
FAILS(curl_multi_add_handle, CURLMcode, CURLM_OUT_OF_MEMORY, (CURLM *multi, CURL *easy), (multi, easy))
FAILS(curl_share_init, CURLSH *, NULL, (void), ())
FAILS(curl_slist_append, struct curl_slist *, NULL, (struct curl_slist *list, const char *text), (list, text))
FAILS(curl_url, CURLU *, NULL, (void), ())
