/* libcurl: see libcurl.h. */
#include "libcurl.h"

#include "../os/descriptor.h"
#include "../os/process.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool started;                 /* everything was initialized */
static curl_version_info_data *info; /* of the library at run time */
static atomic_uint assumed;          /* see crux_libcurl_assume */

/* libcurl is first: OpenSSL registers an exit handler then, and crux's, which has to run before it,
   must be registered later. curl_global_cleanup is never called, since libcurl may have other
   users in the process. */
static void start(void) {
  started = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK && crux_descriptors_init() &&
            crux_process_init();
  info = curl_version_info(CURLVERSION_NOW);
}

bool crux_libcurl_init(void) {
  pthread_once(&once, start);
  return started;
}

unsigned crux_libcurl_version(void) {
  unsigned version = atomic_load_explicit(&assumed, memory_order_relaxed);
  return version ? version : info->version_num;
}

void crux_libcurl_assume(unsigned version) { atomic_store(&assumed, version); }

/* The struct has these fields from 7.70 on. */
#if LIBCURL_VERSION_NUM >= 0x074600
const char *crux_libcurl_ca_file(void) {
  return info->age >= CURLVERSION_SEVENTH ? info->cainfo : NULL;
}
const char *crux_libcurl_ca_path(void) {
  return info->age >= CURLVERSION_SEVENTH ? info->capath : NULL;
}
#else
const char *crux_libcurl_ca_file(void) { return NULL; }
const char *crux_libcurl_ca_path(void) { return NULL; }
#endif

static bool has_tls_of(const char *name) {
  return info->ssl_version && strncmp(info->ssl_version, name, strlen(name)) == 0;
}

bool crux_libcurl_has_gnutls(void) { return has_tls_of("GnuTLS"); }

bool crux_libcurl_may_stop_early(void) { return !has_tls_of("OpenSSL"); }
