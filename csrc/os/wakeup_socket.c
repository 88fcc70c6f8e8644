/* wakeup_socket: see wakeup_socket.h. */
#define _GNU_SOURCE /* mkdtemp */
#include "wakeup_socket.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void crux_wakeup_socket_init(crux_wakeup_socket *s) {
  memset(s, 0, sizeof *s);
  s->listener.fd = s->wakeup.in.fd = s->wakeup.out.fd = -1;
}

static void set_flags(int fd) {
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void stop_listening(crux_wakeup_socket *s) {
  if (!crux_descriptor_close(&s->listener)) return; /* after a fork the path is the parent's */
  unlink(s->path);
  rmdir(s->directory);
}

static bool listen_at(int fd, const char *path) {
  struct sockaddr_un address;
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, path);
  set_flags(fd);
  return bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0;
}

bool crux_wakeup_socket_open(crux_wakeup_socket *s) {
  const char *parent = getenv("TMPDIR");
  crux_wakeup_socket_close(s);
  if (!parent || !*parent || strlen(parent) > 60) parent = "/tmp";
  snprintf(s->directory, sizeof s->directory, "%s/crux.XXXXXX", parent);
  if (!mkdtemp(s->directory)) return false;
  snprintf(s->path, sizeof s->path, "%s/s", s->directory);
  if (!crux_descriptor_register(&s->listener, socket(AF_UNIX, SOCK_STREAM, 0))) {
    rmdir(s->directory);
    return false;
  }
  if (listen_at(s->listener.fd, s->path)) return true;
  stop_listening(s);
  return false;
}

bool crux_wakeup_socket_accept(crux_wakeup_socket *s) {
  int fd = s->listener.fd < 0 ? -1 : accept(s->listener.fd, NULL, NULL);
  stop_listening(s);
  if (fd < 0) return false;
  set_flags(fd);
  return crux_descriptor_register(&s->wakeup.out, fd);
}

void crux_wakeup_socket_close(crux_wakeup_socket *s) {
  stop_listening(s);
  crux_wakeup_close(&s->wakeup);
}
