/* libcurl: see libcurl.h. */
#include "libcurl.h"

#include "../os/process.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool started;
static unsigned version;
static atomic_uint assumed;

/* libcurl comes first: its OpenSSL registers an exit handler, and ours has to run before that one,
   so it has to be registered later. There is no curl_global_cleanup: libcurl may have other users. */
static void start(void) {
  started = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK && crux_process_init();
  version = curl_version_info(CURLVERSION_NOW)->version_num;
}

bool crux_libcurl_init(void) {
  pthread_once(&once, start);
  return started;
}

unsigned crux_libcurl_version(void) {
  unsigned lowered = atomic_load_explicit(&assumed, memory_order_relaxed);
  return lowered ? lowered : version;
}

void crux_libcurl_assume(unsigned lowered) { atomic_store(&assumed, lowered); }
