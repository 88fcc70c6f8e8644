/* A resolver that takes SLOW_RESOLVER seconds (3 if unset) for any name but a number: preloaded into a child by the specs,
   so that nothing is looked up outside this machine. Every name is 127.0.0.1. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);
  lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
  const char *wanted = getenv("SLOW_RESOLVER");
  if (node && !isdigit((unsigned char)node[0]) && node[0] != ':') {
    usleep((useconds_t)((wanted ? atof(wanted) : 3) * 1e6));
    node = "127.0.0.1";
  }
  return real(node, service, hints, found);
}
