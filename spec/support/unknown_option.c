/* Makes curl_easy_setopt() refuse one option, whose number is in UNKNOWN_OPTION. Preloaded into a
   child by the specs, in place of a libcurl that was built without proxies or without a CA path. */
#define _GNU_SOURCE
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>

#undef curl_easy_setopt

CURLcode curl_easy_setopt(CURL *curl, CURLoption option, ...) {
  typedef CURLcode setter(CURL *, CURLoption, ...);
  /* libcurl came with core.so, which is not in the scope that RTLD_NEXT searches */
  void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_NOLOAD);
  void *gnutls = library ? NULL : dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_NOLOAD);
  setter *real = (setter *)dlsym(library ? library : gnutls, "curl_easy_setopt");
  const char *unknown = getenv("UNKNOWN_OPTION");
  va_list list;
  void *value;
  va_start(list, option);
  value = va_arg(list, void *); /* a long and a function pointer are as wide */
  va_end(list);
  if (unknown && atoi(unknown) == (int)option) return CURLE_UNKNOWN_OPTION;
  return real(curl, option, value);
}
