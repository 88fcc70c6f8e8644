/* bare URL N [CA_FILE]: the yardstick for blocking calls. N PATCH requests by libcurl alone: one
   easy handle, head and body made beforehand, the answer's body thrown away. No caller of libcurl's
   easy interface can do less. Without arguments: prints libcurl's version. */
#include "request.h"

int main(int argc, char **argv) {
  CURL *easy;
  long n;
  if (argc == 1) {
    puts(curl_version());
    return 0;
  }
  if (argc < 3) {
    fprintf(stderr, "usage: bare [URL N [CA_FILE]]\n");
    return 2;
  }
  curl_global_init(CURL_GLOBAL_DEFAULT);
  easy = request_new(argv[1], argc > 3 ? argv[3] : NULL);
  for (n = atol(argv[2]); n > 0; n--) request_check(easy, curl_easy_perform(easy));
  curl_easy_cleanup(easy);
  return 0;
}
