/* A kernel that offers TCP_INFO but counts no acknowledged bytes in it, as gVisor does, or UNCOUNTED of them, for ever, as
   one that sends by another way than TCP: preloaded into a child by the specs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

int getsockopt(int fd, int level, int name, void *value, socklen_t *len) {
  typedef int get(int, int, int, void *, socklen_t *);
  get *real = (get *)dlsym(RTLD_NEXT, "getsockopt");
  int status = real(fd, level, name, value, len);
  if (status == 0 && level == IPPROTO_TCP && name == TCP_INFO && *len >= sizeof(struct tcp_info))
    ((struct tcp_info *)value)->tcpi_bytes_acked = getenv("UNCOUNTED") ? strtoul(getenv("UNCOUNTED"), NULL, 10) : 0;
  return status;
}
