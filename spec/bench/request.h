/* request: what bare.c and loop.c send: a PATCH, its head and body made beforehand. */
#ifndef CRUX_BENCH_REQUEST_H
#define CRUX_BENCH_REQUEST_H

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

static size_t request_discard(char *data, size_t size, size_t count, void *user) {
  (void)data;
  (void)user;
  return size * count;
}

/* An easy handle that is ready to perform. NULL as `ca_file` leaves libcurl's own trust anchors. */
static CURL *request_new(const char *url, const char *ca_file) {
  static const char body[] =
      "{\"order_uuid\":\"54a31ec5-b0be-4a92-af4c-1b75fe8e6e29\",\"skus\":[{\"supplier_uuid\":"
      "\"757ce28d-fbd6-4b9f-8051-f847482e169f\",\"sku_id\":\"000106\",\"quantity\":2}]}";
  static const char *const lines[] = {
      "Authorization: Token 47d4yfbwymedhiudj384702984nakju4hajh395d",
      "Content-Type: application/json; charset=utf-8",
      "Accept: application/json",
      "User-Agent: bare/0.1.0",
      "Expect:",
  };
  static struct curl_slist *headers;
  CURL *easy = curl_easy_init();
  size_t i;
  if (!headers) {
    for (i = 0; i < sizeof lines / sizeof *lines; i++)
      headers = curl_slist_append(headers, lines[i]);
  }
  curl_easy_setopt(easy, CURLOPT_URL, url);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PATCH");
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)sizeof body - 1);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 600000L);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, request_discard);
  /* With a CA path, which Debian builds in, libcurl parses the bundle for each connection. */
  curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
  if (ca_file) curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
  return easy;
}

/* Ends the program if the request was not answered with 200. */
static void request_check(CURL *easy, CURLcode rc) {
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  if (rc == CURLE_OK && status == 200) return;
  fprintf(stderr, "expected status 200, found %ld (%s)\n", status, curl_easy_strerror(rc));
  exit(1);
}

#endif
