/* connection: see connection.h. */
#include "connection.h"

#include "../os/process.h"
#include "libcurl.h"
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/sockios.h>
#elif defined(__FreeBSD__) || defined(__NetBSD__)
#include <sys/filio.h>
#endif

/* CURLOPT_BUFFERSIZE's minimum. libcurl uses that buffer only for a proxy's response to CONNECT,
   which it reads byte by byte. */
#define RECEIVE_BUFFER 1024L

/* The most messages of TLS itself, such as session tickets, that are read in a row. A peer that
   sends more is malicious. */
#define MESSAGES 1000

typedef struct crux_socket {
  crux_descriptor descriptor;
  struct crux_socket *next; /* in the connection's list */
} crux_socket;

/* --- callbacks of libcurl --- */

static int open_socket(const struct curl_sockaddr *address) {
#ifdef SOCK_CLOEXEC
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
#else
  int fd = socket(address->family, address->socktype, address->protocol);
  if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
#endif
}

static unsigned port_of(const struct curl_sockaddr *address) {
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  if (address->family == AF_INET) {
    memcpy(&v4, &address->addr, sizeof v4);
    return ntohs(v4.sin_port);
  }
  if (address->family != AF_INET6) return 0;
  memcpy(&v6, &address->addr, sizeof v6);
  return ntohs(v6.sin6_port);
}

static curl_socket_t on_open(void *user, curlsocktype purpose, struct curl_sockaddr *address) {
  crux_connection *c = user;
  crux_socket *s = malloc(sizeof *s);
  (void)purpose;
  if (!s || !crux_descriptor_register(&s->descriptor, open_socket(address))) {
    c->open_errno = s ? errno : ENOMEM;
    free(s);
    return CURL_SOCKET_BAD;
  }
  c->port = port_of(address);
  s->next = c->sockets;
  c->sockets = s;
  return s->descriptor.fd;
}

static int on_close(void *user, curl_socket_t fd) {
  crux_connection *c = user;
  crux_socket **link = &c->sockets, *s;
  /* close(2) does not remove it from the epoll set if a forked child has a copy */
  crux_poller_watch(c->poller, fd, false, false, NULL);
  while (*link && (*link)->descriptor.fd != fd) link = &(*link)->next;
  s = *link;
  if (!s) return close(fd);
  *link = s->next;
  crux_descriptor_close(&s->descriptor);
  free(s);
  return 0;
}

/* Discards the body of a proxy's response. */
static size_t on_write(char *data, size_t size, size_t count, void *user) {
  (void)data;
  (void)user;
  return size * count;
}

/* --- options --- */

#define SET(option, value) \
  if ((code = curl_easy_setopt(curl, option, value)) != CURLE_OK) return code
/* For a value that means "none": a libcurl that does not know the option has none anyway. */
#define SET_NONE(option, value) \
  if ((code = curl_easy_setopt(curl, option, value)) != CURLE_OK && !is_unsupported(code)) \
    return code

static bool is_unsupported(CURLcode code) {
  return code == CURLE_UNKNOWN_OPTION || code == CURLE_NOT_BUILT_IN;
}

static CURLcode set_callbacks(crux_connection *c) {
  CURL *curl = c->curl;
  CURLcode code;
  SET(CURLOPT_PRIVATE, c);
  SET(CURLOPT_ERRORBUFFER, c->error);
  SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
  SET(CURLOPT_OPENSOCKETDATA, c);
  SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
  SET(CURLOPT_CLOSESOCKETDATA, c);
  SET(CURLOPT_WRITEFUNCTION, on_write); /* the default prints */
  SET(CURLOPT_NOSIGNAL, 1L);
  return CURLE_OK;
}

static CURLcode set_proxy(CURL *curl, const crux_settings *s) {
  CURLcode code;
  if (!s->tls || !s->proxy || !s->proxy[0]) {
    SET_NONE(CURLOPT_PROXY, ""); /* with NULL libcurl reads the environment */
    return CURLE_OK;
  }
  SET(CURLOPT_PROXY, s->proxy);
  SET(CURLOPT_NOPROXY, s->no_proxy ? s->no_proxy : "");
  SET(CURLOPT_HTTPPROXYTUNNEL, 1L);
  SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  return CURLE_OK;
}

/* The options that the settings ask for; set_up sets those that crux itself needs. */
static CURLcode set_settings(CURL *curl, const crux_settings *s, const char **option) {
  CURLcode code = crux_trust_set(curl, s, option);
  if (code != CURLE_OK) return code;
  *option = "proxy";
  return set_proxy(curl, s);
}

CURLcode crux_connection_check(const crux_settings *s, const char **option) {
  CURL *curl = curl_easy_init();
  CURLcode code = curl ? set_settings(curl, s, option) : CURLE_OUT_OF_MEMORY;
  curl_easy_cleanup(curl);
  return code;
}

static CURLcode set_up(crux_connection *c, double seconds) {
  const crux_profile *p = c->profile;
  const crux_settings *s = &p->config->settings;
  CURL *curl = c->curl;
  const char *option;
  CURLcode code = set_callbacks(c);
  if (code == CURLE_OK) code = set_settings(curl, s, &option);
  if (code != CURLE_OK) return code;
  SET(CURLOPT_URL, s->origin); /* libcurl sees nothing else of a request */
  SET(CURLOPT_CONNECT_ONLY, 1L);
  SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* for ALPN */
  SET(CURLOPT_FRESH_CONNECT, 1L);
  SET(CURLOPT_SHARE, p->share);
  SET(CURLOPT_CONNECTTIMEOUT_MS, (long)crux_milliseconds(seconds));
  SET(CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
  if (p->refresh_dns) SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L);
#if LIBCURL_VERSION_NUM >= 0x075700
  /* without it, as below 7.87, removing the handle during a name look-up waits for the look-up */
  curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
#endif
  return CURLE_OK;
}

crux_connection *crux_connection_new(crux_multis *multis, crux_profile *profile, double seconds,
                                     CURLcode *code) {
  const crux_settings *s = &profile->config->settings;
  crux_connection *c = calloc(1, sizeof *c);
  *code = CURLE_OUT_OF_MEMORY;
  if (!c) return NULL;
  c->watcher.type = CRUX_WATCHER_CONNECTION;
  c->fd = CURL_SOCKET_BAD;
  c->poller = multis->poller;
  c->profile = profile;
  c->tls = s->tls;
  c->hides_input = s->tls && s->proxy && strncasecmp(s->proxy, "https:", 6) == 0 &&
                   crux_libcurl_has_gnutls();
  c->created = crux_now();
  c->curl = curl_easy_init();
  if (c->curl) *code = set_up(c, seconds);
  if (*code == CURLE_OK) {
    c->multi = crux_multis_reserve(multis);
    *code = CURLE_OUT_OF_MEMORY;
    if (c->multi && crux_multi_add(c->multi, c->curl)) {
      profile->users++;
      return c;
    }
  }
  if (c->multi) crux_multi_prune(c->multi);
  curl_easy_cleanup(c->curl);
  free(c);
  return NULL;
}

void crux_connection_close(crux_connection *c) {
  crux_multi *multi = c->multi;
  if (c->fd != CURL_SOCKET_BAD) crux_poller_watch(c->poller, c->fd, false, false, NULL);
  crux_multi_remove(multi, c->curl, c->state == CRUX_CONNECTION_CONNECTING);
  curl_easy_cleanup(c->curl);
  crux_multi_prune(multi);
  /* libcurl 7.88 closes some connecting sockets without CURLOPT_CLOSESOCKETFUNCTION */
  while (c->sockets) {
    crux_socket *s = c->sockets;
    c->sockets = s->next;
    crux_descriptor_forget(&s->descriptor);
    free(s);
  }
  c->profile->users--;
  free(c);
}

/* --- input and output --- */

bool crux_connection_watch_out(crux_connection *c, bool out) {
  if (c->watched_out == out) return true;
  c->watched_out = out;
  return crux_poller_watch(c->poller, c->fd, true, out, c);
}

bool crux_connection_establish(crux_connection *c) {
  curl_easy_getinfo(c->curl, CURLINFO_ACTIVESOCKET, &c->fd);
  return c->fd != CURL_SOCKET_BAD && crux_poller_watch(c->poller, c->fd, true, false, c);
}

/* In TLS 1.2 a server may ask for a new handshake (HelloRequest). With GnuTLS, curl_easy_recv makes
   that handshake and blocks meanwhile. */
void crux_connection_set_deadline(crux_connection *c, double deadline) {
  if (c->tls && crux_libcurl_has_gnutls())
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)crux_milliseconds(deadline - c->created));
}

static crux_io result_of(crux_connection *c, CURLcode code) {
  if (code == CURLE_AGAIN) return CRUX_IO_AGAIN;
  c->code = code;
  return CRUX_IO_ERROR;
}

crux_io crux_connection_send(crux_connection *c, const char *data, size_t len, size_t *sent) {
  CURLcode code;
  *sent = 0;
  c->error[0] = '\0';
  code = curl_easy_send(c->curl, data, len, sent);
  if (code != CURLE_OK) return result_of(c, code);
  return *sent > 0 ? CRUX_IO_OK : CRUX_IO_AGAIN;
}

/* curl_easy_recv may return CURLE_AGAIN after each message of TLS itself and leave the rest unread.
   With an https proxy the rest may already be decrypted: then the descriptor does not become
   readable, so a few more calls are made. */
static bool stops_early(const crux_connection *c, int calls) {
  if (c->hides_input) return calls < 8;
  return c->tls && crux_libcurl_may_stop_early() && crux_connection_is_readable(c);
}

crux_io crux_connection_receive(crux_connection *c, char *data, size_t size, size_t *received) {
  CURLcode code;
  int calls = 0;
  do {
    if (calls++ == MESSAGES) return result_of(c, CURLE_RECV_ERROR);
    *received = 0;
    c->error[0] = '\0';
    code = curl_easy_recv(c->curl, data, size, received);
  } while (code == CURLE_AGAIN && stops_early(c, calls));
  if (code != CURLE_OK) return result_of(c, code);
  return *received > 0 ? CRUX_IO_OK : CRUX_IO_END;
}

crux_io crux_connection_probe(crux_connection *c, char *buffer, size_t size) {
  size_t received;
  return crux_connection_receive(c, buffer, size, &received);
}

bool crux_connection_is_readable(const crux_connection *c) {
  char byte;
  return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
         (errno != EAGAIN && errno != EWOULDBLOCK);
}

long long crux_connection_unacknowledged(const crux_connection *c) {
  int count = 0;
#if defined(SIOCOUTQ)
  if (ioctl(c->fd, SIOCOUTQ, &count) == 0) return count;
#elif defined(FIONWRITE)
  if (ioctl(c->fd, FIONWRITE, &count) == 0) return count;
#elif defined(SO_NWRITE)
  socklen_t len = sizeof count;
  if (getsockopt(c->fd, SOL_SOCKET, SO_NWRITE, &count, &len) == 0) return count;
#endif
  (void)c;
  return -1;
}
