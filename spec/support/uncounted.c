/* A kernel that offers TCP_INFO but counts no acknowledged bytes in it, as gVisor does: preloaded into a child by the specs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

int getsockopt(int fd, int level, int name, void *value, socklen_t *len) {
  typedef int get(int, int, int, void *, socklen_t *);
  get *real = (get *)dlsym(RTLD_NEXT, "getsockopt");
  int status = real(fd, level, name, value, len);
  if (status == 0 && level == IPPROTO_TCP && name == TCP_INFO && *len >= sizeof(struct tcp_info))
    memset(&((struct tcp_info *)value)->tcpi_bytes_acked, 0, sizeof((struct tcp_info *)value)->tcpi_bytes_acked);
  return status;
}
