/* Makes a client wait for the server's next bytes before its own next step, so that the order is
   certain. Preloaded into a child by the specs. PATIENT says after which steps it waits until
   it can read: `connect`, `handshake` (each flight of a TLS handshake), or `count` (of what the
   server has not acknowledged). With `before` it makes the file PATIENT_FLAG, and waits, before it
   sends its second PATCH. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LONGEST = 1000 }; /* ms; where nothing comes, the specs' own expectations fail */

static int does(const char *step) {
  const char *wanted = getenv("PATIENT");
  return wanted && strcmp(wanted, step) == 0;
}

static int is_tcp(int fd) {
  struct sockaddr_storage name;
  socklen_t size = sizeof name;
  int type = 0, error = errno, tcp;
  socklen_t length = sizeof type;
  tcp = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM &&
        getsockname(fd, (struct sockaddr *)&name, &size) == 0 && name.ss_family == AF_INET;
  errno = error;
  return tcp;
}

static void wait_for_peer(int fd) {
  struct pollfd p = { .fd = fd, .events = POLLIN };
  int error = errno;
  if (is_tcp(fd)) poll(&p, 1, LONGEST);
  errno = error;
}

static void before(int fd, const void *data, size_t length) {
  static int patches;
  const char *flag = getenv("PATIENT_FLAG");
  if (!does("before") || !flag || length < 6 || memcmp(data, "PATCH ", 6) != 0) return;
  if (++patches != 2) return;
  close(open(flag, O_WRONLY | O_CREAT, 0600));
  wait_for_peer(fd);
}

/* The client's last flight of TLS 1.3 is a ChangeCipherSpec and what looks like data. Some
   libraries make two writes of it. */
static int ends_flight(const unsigned char *data, size_t length) {
  enum { CHANGE_CIPHER_SPEC = 20, HANDSHAKE = 22, DATA = 23, ALONE = 6 };
  static int changed;
  int before = changed;
  changed = length == ALONE && *data == CHANGE_CIPHER_SPEC;
  if (length < ALONE || changed) return 0;
  return *data == HANDSHAKE || *data == CHANGE_CIPHER_SPEC || (*data == DATA && before);
}

static void after(int fd, const void *data, size_t length) {
  if (does("handshake") && ends_flight(data, length)) wait_for_peer(fd);
}

int ioctl(int fd, unsigned long name, ...) {
  typedef int control(int, unsigned long, ...);
  va_list list;
  void *value;
  int found;
  va_start(list, name);
  value = va_arg(list, void *);
  va_end(list);
  found = ((control *)dlsym(RTLD_NEXT, "ioctl"))(fd, name, value);
  if (name == SIOCOUTQ && does("count")) wait_for_peer(fd);
  return found;
}

int connect(int fd, const struct sockaddr *name, socklen_t size) {
  typedef int connecting(int, const struct sockaddr *, socklen_t);
  int found = ((connecting *)dlsym(RTLD_NEXT, "connect"))(fd, name, size);
  if (does("connect")) wait_for_peer(fd);
  return found;
}

ssize_t write(int fd, const void *data, size_t length) {
  typedef ssize_t writing(int, const void *, size_t);
  ssize_t found;
  before(fd, data, length);
  found = ((writing *)dlsym(RTLD_NEXT, "write"))(fd, data, length);
  after(fd, data, length);
  return found;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  typedef ssize_t writing(int, const struct iovec *, int);
  ssize_t found;
  if (count > 0) before(fd, parts->iov_base, parts->iov_len);
  found = ((writing *)dlsym(RTLD_NEXT, "writev"))(fd, parts, count);
  if (count > 0) after(fd, parts->iov_base, parts->iov_len);
  return found;
}

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *name,
               socklen_t size) {
  typedef ssize_t sending(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
  ssize_t found;
  before(fd, data, length);
  found = ((sending *)dlsym(RTLD_NEXT, "sendto"))(fd, data, length, flags, name, size);
  after(fd, data, length);
  return found;
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
  return sendto(fd, data, length, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  typedef ssize_t sending(int, const struct msghdr *, int);
  ssize_t found;
  if (message->msg_iovlen > 0) before(fd, message->msg_iov->iov_base, message->msg_iov->iov_len);
  found = ((sending *)dlsym(RTLD_NEXT, "sendmsg"))(fd, message, flags);
  if (message->msg_iovlen > 0) after(fd, message->msg_iov->iov_base, message->msg_iov->iov_len);
  return found;
}
