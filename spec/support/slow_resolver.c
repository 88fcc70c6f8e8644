/* A resolver that takes SLOW_RESOLVER seconds (3 if unset) for any name but a number, and resolves
   it to 127.0.0.1. Preloaded into a child by the specs, so that no name is resolved outside this
   machine. Names are appended to the file RESOLVER_LOG, if that is set, one a line. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void note(const char *name) {
  const char *path = getenv("RESOLVER_LOG");
  int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (fd < 0) return;
  dprintf(fd, "%s\n", name);
  close(fd);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);
  lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
  const char *wanted = getenv("SLOW_RESOLVER");
  if (node && !isdigit((unsigned char)node[0]) && node[0] != ':') {
    /* From 8.20 on libcurl asks for each family by itself, connects with the first answer, and
       keeps the name only if the other answer came before the connection stood. So that of IPv6
       comes at once. */
    if (!hints || hints->ai_family != AF_INET6) {
      note(node);
      usleep((useconds_t)((wanted ? atof(wanted) : 3) * 1e6));
    }
    node = "127.0.0.1";
  }
  return real(node, service, hints, found);
}
