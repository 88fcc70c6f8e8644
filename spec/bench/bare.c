/*
** bare URL N: the bench's yardstick. N PATCH requests by libcurl alone: one easy handle, headers and body made
** beforehand, the answer's body thrown away. Less than this no caller of libcurl's easy interface can do.
*/
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

static const char body[] =
    "{\"order_uuid\":\"54a31ec5-b0be-4a92-af4c-1b75fe8e6e29\",\"skus\":[{\"supplier_uuid\":"
    "\"757ce28d-fbd6-4b9f-8051-f847482e169f\",\"sku_id\":\"000106\",\"quantity\":2}]}";

static size_t discard(char *data, size_t size, size_t count, void *user) {
  (void)data;
  (void)user;
  return size * count;
}

int main(int argc, char **argv) {
  static const char *const lines[] = {
      "Authorization: Token 47d4yfbwymedhiudj384702984nakju4hajh395d",
      "Content-Type: application/json; charset=utf-8",
      "Accept: application/json",
      "User-Agent: bare/0.1.0",
      "Expect:",
  };
  struct curl_slist *headers = NULL;
  long status = 0;
  long n;
  size_t i;
  CURL *easy;
  if (argc != 3) {
    fprintf(stderr, "usage: bare URL N\n");
    return 2;
  }
  curl_global_init(CURL_GLOBAL_DEFAULT);
  easy = curl_easy_init();
  for (i = 0; i < sizeof lines / sizeof *lines; i++) headers = curl_slist_append(headers, lines[i]);
  curl_easy_setopt(easy, CURLOPT_URL, argv[1]);
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PATCH");
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)sizeof body - 1);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 30000L);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
  for (n = atol(argv[2]); n > 0; n--) {
    CURLcode rc = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (rc != CURLE_OK || status != 204) {
      fprintf(stderr, "bare: expected status 204, found %ld (%s)\n", status, curl_easy_strerror(rc));
      return 1;
    }
  }
  curl_slist_free_all(headers);
  curl_easy_cleanup(easy);
  return 0;
}
