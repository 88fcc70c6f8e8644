#define _GNU_SOURCE /* mkdtemp */
#include "wakeup_socket.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void crux_wakeup_socket_init(crux_wakeup_socket *r) {
  memset(r, 0, sizeof *r);
  r->listener = r->wake.in = r->wake.out = -1;
}

static void set_flags(int fd) {
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void stop_listening(crux_wakeup_socket *r) {
  if (r->listener >= 0) {
    close(r->listener);
    unlink(r->path);
    rmdir(r->directory);
  }
  r->listener = -1;
}

bool crux_wakeup_socket_open(crux_wakeup_socket *r) {
  const char *place = getenv("TMPDIR");
  struct sockaddr_un address;
  crux_wakeup_socket_close(r);
  if (!place || !*place || strlen(place) > 60) place = "/tmp";
  snprintf(r->directory, sizeof r->directory, "%s/crux.XXXXXX", place);
  if (!mkdtemp(r->directory)) return false;
  snprintf(r->path, sizeof r->path, "%s/s", r->directory);
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, r->path);
  r->listener = socket(AF_UNIX, SOCK_STREAM, 0);
  if (r->listener < 0) {
    rmdir(r->directory);
    return false;
  }
  set_flags(r->listener);
  if (bind(r->listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(r->listener, 1) == 0) return true;
  stop_listening(r);
  return false;
}

bool crux_wakeup_socket_accept(crux_wakeup_socket *r) {
  int fd = r->listener < 0 ? -1 : accept(r->listener, NULL, NULL);
  stop_listening(r);
  if (fd < 0) return false;
  set_flags(fd);
  r->wake.out = fd;
  return true;
}

void crux_wakeup_socket_close(crux_wakeup_socket *r) {
  stop_listening(r);
  crux_wakeup_close(&r->wake);
}
