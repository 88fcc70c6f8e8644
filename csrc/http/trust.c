/* trust: see trust.h. */
#include "trust.h"

#include "libcurl.h"

#include <string.h>
#include <unistd.h>

/* This is no directory, and cannot become one. As CURLOPT_CAPATH it means "none" in every libcurl.
   NULL means that up to 8.20 only, but with NULL libcurl caches the bundle that OpenSSL parsed. */
static const char NO_PATH[] = "/dev/null";

/* From libcurl 8.21 on a CURLOPT_CAINFO of NULL is the built-in bundle, and a file without a
   certificate is an error. So if ca_path alone is given, this certificate replaces the bundle. It
   is no authority (CA:FALSE), was valid for the first second of 1970, and its key was deleted. */
#if LIBCURL_VERSION_NUM >= 0x074d00
static char worthless_ca[] =
  "-----BEGIN CERTIFICATE-----\n"
  "MIIBXjCCAQSgAwIBAgIBATAKBggqhkjOPQQDAjAgMR4wHAYDVQQDDBVjcnV4OiBu\n"
  "byB0cnVzdCBhbmNob3IwHhcNNzAwMTAxMDAwMDAwWhcNNzAwMTAxMDAwMDAxWjAg\n"
  "MR4wHAYDVQQDDBVjcnV4OiBubyB0cnVzdCBhbmNob3IwWTATBgcqhkjOPQIBBggq\n"
  "hkjOPQMBBwNCAASTu9K5VT4a6neqcobB6lDFnn4tVWfewxgIFmiDjjRSi1JI7Njf\n"
  "I5UDSfeYjyMK7mfk14cjh30ArYtFSrep+A71oy8wLTAMBgNVHRMBAf8EAjAAMB0G\n"
  "A1UdDgQWBBTJmL25GBupaN4HIgm0XkzDQiDu/zAKBggqhkjOPQQDAgNIADBFAiAY\n"
  "9majVzKnfNj9qp4rkGWm1XVfKyUEtb+DE3Yvc+13HwIhANSW2fz8a94zLk0UisVn\n"
  "4X4tsNrL07SVDNmmCR2yUllv\n"
  "-----END CERTIFICATE-----\n";
#endif

#define SET(option, value) \
  if ((code = curl_easy_setopt(curl, option, value)) != CURLE_OK) return code

/* For an option that is not needed if libcurl does not know it. */
static CURLcode allow_unknown(CURLcode code) {
  return code == CURLE_UNKNOWN_OPTION || code == CURLE_NOT_BUILT_IN ? CURLE_OK : code;
}

/* For the CURLOPT_PROXY_ form of an option: a libcurl without it has no TLS to proxies. */
static CURLcode set_for_proxy(CURLcode code) { return allow_unknown(code); }

static bool null_is_default(void) { return crux_libcurl_version() >= CRUX_CURL_NULL_IS_DEFAULT; }

static CURLcode set_path(CURL *curl, const char *path) {
  CURLcode code = curl_easy_setopt(curl, CURLOPT_CAPATH, path);
  /* a TLS library that knows no CA path has none that must be removed; but if removing it fails for
     lack of memory, the path would be trusted */
  if (path == NULL || path == NO_PATH) code = allow_unknown(code);
  if (code != CURLE_OK) return code;
  return set_for_proxy(curl_easy_setopt(curl, CURLOPT_PROXY_CAPATH, path));
}

static CURLcode set_file(CURL *curl, const char *file) {
  CURLcode code;
  SET(CURLOPT_CAINFO, file);
  return set_for_proxy(curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO, file));
}

static CURLcode set_no_file(CURL *curl) {
#if LIBCURL_VERSION_NUM >= 0x074d00
  struct curl_blob blob = { worthless_ca, sizeof worthless_ca - 1, CURL_BLOB_NOCOPY };
  CURLcode code;
  if (null_is_default()) {
    SET(CURLOPT_CAINFO_BLOB, &blob);
    return set_for_proxy(curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO_BLOB, &blob));
  }
#else
  if (null_is_default()) return CURLE_NOT_BUILT_IN; /* the bundle would be trusted too */
#endif
  return set_file(curl, NULL);
}

/* libcurl's built-in CA path is removed if there is a built-in bundle as well: with a CA path,
   OpenSSL parses the bundle again for each connection. */
static CURLcode set_default_anchors(CURL *curl) {
  const char *bundle = crux_libcurl_ca_file();
  bool shares_bundle = crux_libcurl_version() >= CRUX_CURL_CA_CACHE && !null_is_default();
  return shares_bundle && bundle && access(bundle, R_OK) == 0 ? set_path(curl, NULL) : CURLE_OK;
}

static CURLcode set_anchors(CURL *curl, const crux_settings *s) {
  CURLcode code;
  if (!s->ca_file && !s->ca_path) return set_default_anchors(curl);
  code = s->ca_file ? set_file(curl, s->ca_file) : set_no_file(curl);
  if (code != CURLE_OK) return code;
  if (s->ca_path) return set_path(curl, s->ca_path);
  return set_path(curl, null_is_default() && crux_libcurl_ca_path() ? NO_PATH : NULL);
}

/* Without a password, OpenSSL would ask for that of an encrypted key on the terminal. With an empty
   one, GnuTLS would try to decrypt a key that is not encrypted. */
static CURLcode set_certificate(CURL *curl, const crux_settings *s) {
  const char *key = s->key_file ? s->key_file : s->cert_file;
  CURLcode code;
  if (!s->cert_file) return CURLE_OK;
  SET(CURLOPT_SSLCERT, s->cert_file);
  SET(CURLOPT_SSLKEY, key);
  if (!crux_libcurl_has_gnutls()) SET(CURLOPT_KEYPASSWD, "");
  code = set_for_proxy(curl_easy_setopt(curl, CURLOPT_PROXY_SSLCERT, s->cert_file));
  if (code == CURLE_OK) code = set_for_proxy(curl_easy_setopt(curl, CURLOPT_PROXY_SSLKEY, key));
  if (code != CURLE_OK || crux_libcurl_has_gnutls()) return code;
  return set_for_proxy(curl_easy_setopt(curl, CURLOPT_PROXY_KEYPASSWD, ""));
}

CURLcode crux_trust_set(CURL *curl, const crux_settings *s, const char **option) {
  CURLcode code;
  if (!s->tls) return CURLE_OK;
  *option = "base_url";
  SET(CURLOPT_SSL_VERIFYPEER, 1L);
  SET(CURLOPT_SSL_VERIFYHOST, 2L);
  SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  code = set_for_proxy(
    curl_easy_setopt(curl, CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
  if (code != CURLE_OK) return code;
  *option = s->ca_path ? "ca_path" : "ca_file";
  code = set_anchors(curl, s);
  if (code != CURLE_OK) return code;
  *option = "cert_file";
  return set_certificate(curl, s);
}
