/* exchange: fuzzes the whole exchange. An engine makes up to three calls, over loopback and
   libcurl, to a peer that acts as the input says. Byte 0 of the input gives the number of calls and
   the size of their requests. The peer's actions follow: one before each wait of the engine.
   Actions with the highest bit set at the beginning of a call's actions come before the call, while
   its connections are idle. Whatever the peer does, crux must not send a request twice, nor claim
   more than what the peer wrote after the request had reached it. */
#define _GNU_SOURCE
#include "http/engine.h"
#include "http/libcurl.h"
#include "os/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CALLS = 3, CONNECTIONS = 16, ROUNDS = 4000, LARGE = 300000 };

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void expect(bool is_true, const char *what) {
  if (is_true) return;
  fprintf(stderr, "expected otherwise: %s\n", what);
  abort();
}

#define EXPECT(condition) expect(condition, #condition)

/* --- the peer --- */

/* One connection at the peer's end. What the peer writes is a response to a call only after a byte
   of that call's request has arrived. */
typedef struct {
  int fd;
  size_t arrived;         /* bytes of the present call's request that were read */
  bool unread;            /* bytes of it were not read, now or when the connection was closed */
  bool stray;             /* the peer wrote or shut down before the request arrived */
  bool spent;             /* by an earlier call: it must not carry another request */
  bool overfull;          /* the peer wrote more than one response to the present call */
  crux_response response; /* what the peer wrote in response to the present call */
  bool answering;         /* there is a `response` */
  bool ended;             /* the peer has closed or shut it down */
  unsigned idle_rounds;   /* of wind_up, without a byte read */
} peer_connection;

static struct {
  int listener;
  struct sockaddr_in address;
  peer_connection connections[CONNECTIONS];
  unsigned count;
} peer;

/* The present call's request, as it must arrive. */
static char wire[LARGE + 1024];
static size_t wire_len;

static const char *const CANNED[] = {
  "HTTP/1.1 204 No Content\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
  "HTTP/1.1 100 Continue\r\n\r\n",
  "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n{}",
  "HTTP/1.0 200 OK\r\n\r\nbody until the end",
  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
};

static void listen_once(void) {
  socklen_t len = sizeof peer.address;
  peer.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  peer.address = (struct sockaddr_in){ .sin_family = AF_INET };
  peer.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT(bind(peer.listener, (struct sockaddr *)&peer.address, sizeof peer.address) == 0);
  EXPECT(listen(peer.listener, 64) == 0);
  EXPECT(getsockname(peer.listener, (struct sockaddr *)&peer.address, &len) == 0);
}

static void accept_waiting(void) {
  int one = 1, fd;
  while (peer.count < CONNECTIONS && (fd = accept4(peer.listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    peer.connections[peer.count++] = (peer_connection){ .fd = fd };
  }
}

static void note_unread(peer_connection *p) {
  int count = 0;
  if (p->fd >= 0 && ioctl(p->fd, FIONREAD, &count) == 0 && count > 0) p->unread = true;
}

/* True if a byte of the request has arrived: what is written from now on is a response. */
static bool has_request(peer_connection *p) {
  note_unread(p);
  return p->arrived > 0 || p->unread;
}

static void peer_read(peer_connection *p, size_t most) {
  char buffer[65536];
  ssize_t got = read(p->fd, buffer, most < sizeof buffer ? most : sizeof buffer);
  if (got <= 0) return;
  EXPECT(!p->spent);
  EXPECT(p->arrived + (size_t)got <= wire_len);
  EXPECT(memcmp(buffer, wire + p->arrived, (size_t)got) == 0);
  p->arrived += (size_t)got;
}

static void peer_write(peer_connection *p, const char *data, size_t len) {
  bool answers = has_request(p);
  ssize_t sent = send(p->fd, data, len, MSG_NOSIGNAL);
  if (sent <= 0) return;
  if (!answers) p->stray = true;
  else if (!p->stray && !p->ended) {
    if (!p->answering) crux_response_init(&p->response, 1 << 20);
    p->answering = true;
    if (crux_response_feed(&p->response, data, (size_t)sent) < (size_t)sent) p->overfull = true;
  }
}

static void peer_end(peer_connection *p, int how) {
  struct linger reset = { .l_onoff = 1, .l_linger = 0 };
  if (!has_request(p)) p->stray = true;
  if (p->answering && !p->ended) crux_response_end(&p->response);
  p->ended = true;
  if (how == 0) {
    shutdown(p->fd, SHUT_WR);
    return;
  }
  if (how == 2) setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(p->fd);
  p->fd = -1;
}

/* One action of the input on the newest connection; returns how many bytes of input it took. */
static size_t act(const uint8_t *input, size_t size) {
  peer_connection *p = peer.count > 0 ? &peer.connections[peer.count - 1] : NULL;
  size_t count = size > 1 ? input[1] : 0;
  if (!p || p->fd < 0) return 1;
  switch (input[0] % 8) {
    case 0: peer_read(p, (count + 1) * 300); return 2;
    case 1: peer_read(p, SIZE_MAX); return 1;
    case 2:
      if (count > size - 2) count = size > 2 ? size - 2 : 0;
      peer_write(p, (const char *)input + 2, count);
      return 2 + count;
    case 3: {
      const char *text = CANNED[count % (sizeof CANNED / sizeof *CANNED)];
      peer_write(p, text, strlen(text));
      return 2;
    }
    case 4: peer_end(p, (int)(count % 3)); return 2;
    default: return 1; /* no action: only the engine goes on */
  }
}

/* --- the calls --- */

static void on_done(crux_transfer *t, void *context) {
  (void)context;
  atomic_store(&t->done, true);
  crux_transfer_release(t);
}

static crux_transfer *new_call(crux_config *config, unsigned number, bool large) {
  static char body[LARGE];
  char target[32];
  crux_request *request;
  crux_transfer *t;
  snprintf(target, sizeof target, "/call/%u/", number);
  memset(body, 'a' + (int)number % 26, sizeof body);
  request = crux_request_new(config, "PATCH", target, false, body, large ? LARGE : 40);
  t = crux_transfer_new(request, "token", NULL, crux_now() + 20, 20);
  crux_request_release(request);
  return t;
}

/* Reads all that has arrived. */
static void drain(peer_connection *p) {
  size_t before;
  do {
    before = p->arrived;
    if (p->fd >= 0 && before < wire_len) peer_read(p, SIZE_MAX);
  } while (p->arrived > before);
}

static void begin_call(const crux_transfer *t) {
  unsigned i;
  for (i = 0; i < peer.count; i++) drain(&peer.connections[i]);
  EXPECT(t->wire_len <= sizeof wire);
  wire_len = t->wire_len;
  memcpy(wire, t->wire, wire_len);
  for (i = 0; i < peer.count; i++) {
    peer_connection *p = &peer.connections[i];
    if (p->arrived > 0 || p->unread || p->stray || p->ended)
      p->spent = p->stray || p->ended || p->overfull || p->arrived < wire_len || !p->answering ||
                 !p->response.persistent || p->response.state != CRUX_RESPONSE_COMPLETE;
    if (p->answering) crux_response_free(&p->response);
    p->answering = p->unread = false;
    p->arrived = p->idle_rounds = 0;
  }
}

/* What is claimed about the call must agree with what the peer saw. */
static void check_call(const crux_transfer *t) {
  const crux_reply *r = &t->reply;
  const peer_connection *answered = NULL;
  size_t arrived = 0;
  unsigned i, requests = 0;
  for (i = 0; i < peer.count; i++) {
    peer_connection *p = &peer.connections[i];
    note_unread(p);
    arrived += p->arrived;
    if (p->arrived > 0 || p->unread) {
      requests++;
      answered = p;
    }
  }
  EXPECT(requests <= 1);
  EXPECT(r->sends <= 1 && (r->sends > 0) == (r->bytes_sent > 0));
  EXPECT(r->bytes_sent >= arrived && r->bytes_sent <= t->wire_len);
  EXPECT((r->verdict.outcome == CRUX_NOT_SENT) == (r->sends == 0));
  if (requests > 0) EXPECT(r->sends == 1);
  if (r->response.status == 0) return;
  EXPECT(answered && answered->answering);
  EXPECT(answered->response.status == r->response.status);
  EXPECT(r->response.body.len <= answered->response.body.len);
}

/* For when the input is used up: the peer reads the rest of a request, and closes. */
static void wind_up(void) {
  unsigned i;
  for (i = 0; i < peer.count; i++) {
    peer_connection *p = &peer.connections[i];
    size_t before = p->arrived;
    if (has_request(p)) drain(p);
    p->idle_rounds = p->arrived > before ? 0 : p->idle_rounds + 1;
    if (p->fd >= 0 && (p->arrived == wire_len || p->ended || p->idle_rounds > 50)) peer_end(p, 1);
  }
}

/* The actions that were not carried out yet. */
static const uint8_t *script;
static size_t script_size;
static bool in_call;

static void act_once(void) {
  size_t used;
  accept_waiting();
  used = act(script, script_size);
  if (used > script_size) used = script_size;
  script += used;
  script_size -= used;
}

/* Linked in place of epoll_wait(2): the peer acts just before the engine waits. So it also acts
   after connect(2) and before the engine learns that the connection is established. */
int __real_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout);

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout) {
  if (in_call && script_size > 0) act_once();
  else if (in_call) {
    accept_waiting();
    wind_up();
  }
  return __real_epoll_wait(epoll, events, max, timeout);
}

static void run_call(crux_engine *e, crux_transfer *t) {
  int rounds;
  begin_call(t);
  while (script_size > 0 && script[0] & 128) act_once();
  in_call = true;
  crux_engine_submit(e, crux_transfer_retain(t));
  for (rounds = 0; rounds < ROUNDS && !atomic_load(&t->done); rounds++)
    crux_engine_step(e, script_size > 0 ? 0 : 0.001);
  in_call = false;
  EXPECT(atomic_load(&t->done));
  check_call(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
  char origin[64];
  crux_settings settings = { .origin = origin, .prefix = "", .api_prefix = "", .timeout = 20,
    .connect_timeout = 20, .idle_timeout = 60, .connection_lifetime = 300, .max_connections = 8,
    .max_body = 1 << 20 };
  crux_config *config;
  crux_engine *e;
  unsigned calls, i;
  bool large;
  if (size == 0) return 0;
  EXPECT(crux_libcurl_init());
  if (peer.listener == 0) listen_once();
  snprintf(origin, sizeof origin, "http://127.0.0.1:%d", ntohs(peer.address.sin_port));
  calls = 1 + input[0] % CALLS;
  large = input[0] & 128;
  config = crux_config_new(&settings, "fuzz", 0);
  e = crux_engine_new(on_done, NULL, NULL);
  script = input + 1;
  script_size = size - 1;
  for (i = 0; i < calls; i++) {
    crux_transfer *t = new_call(config, i, large);
    run_call(e, t);
    crux_transfer_release(t);
  }
  crux_engine_free(e);
  crux_config_release(config);
  while (peer.count > 0) {
    peer_connection *p = &peer.connections[--peer.count];
    if (p->answering) crux_response_free(&p->response);
    if (p->fd >= 0) peer_end(p, 2);
  }
  return 0;
}
