#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif

curl_socket_t crux_sockets_open(crux_sockets *s, const struct curl_sockaddr *address, const void *owner) {
  int fd, type = address->socktype;
  if (s->count == s->room) {
    size_t room = s->room ? s->room * 2 : 4;
    crux_socket *grown = realloc(s->list, room * sizeof *grown);
    if (!grown) {
      errno = ENOMEM;
      return CURL_SOCKET_BAD;
    }
    s->list = grown;
    s->room = room;
  }
#ifdef SOCK_CLOEXEC
  fd = socket(address->family, type | SOCK_CLOEXEC, address->protocol);
#else
  fd = socket(address->family, type, address->protocol);
  if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
  if (fd < 0) return CURL_SOCKET_BAD;
  if (!crux_poller_adopt(s->poller, fd)) {
    close(fd);
    errno = ENOMEM;
    return CURL_SOCKET_BAD;
  }
  s->list[s->count++] = (crux_socket){ .fd = fd, .owner = owner };
  return fd;
}

void crux_sockets_close(crux_sockets *s, curl_socket_t fd) {
  size_t i;
  for (i = 0; i < s->count; i++) {
    if (s->list[i].fd == fd) {
      s->list[i] = s->list[--s->count];
      break;
    }
  }
  crux_poller_forget(s->poller, fd);
  close(fd);
}

static int local_port_of(curl_socket_t fd) {
  struct sockaddr_storage address;
  socklen_t len = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &len) != 0) return 0;
  if (address.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&address)->sin_port);
  if (address.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
  return 0;
}

static bool same(const crux_ends *a, const crux_ends *b) {
  return a->local_port == b->local_port && a->port == b->port && strcmp(a->address, b->address) == 0;
}

curl_socket_t crux_sockets_find(crux_sockets *s, const crux_ends *ends, const void *owner) {
  curl_socket_t fd = CURL_SOCKET_BAD;
  size_t i;
  if (ends->local_port == 0) return fd;
  for (i = 0; i < s->count; i++) {
    crux_socket *one = &s->list[i];
    bool mine = owner && one->owner == owner && one->ends.local_port == 0 && local_port_of(one->fd) == ends->local_port;
    if (mine) {
      one->ends = *ends;
      fd = one->fd;
    } else if (same(&one->ends, ends)) {
      /* a connection that was reset gives its port away before curl closes it */
      if (owner) one->ends.local_port = 0, one->owner = NULL;
      else fd = one->fd;
    }
  }
  return fd;
}

crux_socket_state crux_socket_look(curl_socket_t fd) {
  char byte;
  ssize_t got;
  if (fd == CURL_SOCKET_BAD) return CRUX_SOCKET_UNTOLD;
  got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got > 0) return CRUX_SOCKET_UNREAD;
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? CRUX_SOCKET_CLEAN : CRUX_SOCKET_ENDED;
}

void crux_socket_spoil(curl_socket_t fd) {
  char waste[4096];
  shutdown(fd, SHUT_RDWR);
  while (recv(fd, waste, sizeof waste, MSG_DONTWAIT) > 0) continue;
}

long long crux_socket_unacknowledged(curl_socket_t fd) {
#ifdef SIOCOUTQ
  int count = 0;
  if (ioctl(fd, SIOCOUTQ, &count) == 0) return count;
#endif
  (void)fd;
  return -1;
}

void crux_sockets_abandon(crux_sockets *s) {
  while (s->count > 0) close(s->list[--s->count].fd);
  crux_sockets_free(s);
}

void crux_sockets_free(crux_sockets *s) {
  free(s->list);
  s->list = NULL;
  s->count = s->room = 0;
}
