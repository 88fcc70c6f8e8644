#include "transfer.h"

#include "../os/poller.h"
#include "../os/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Idle connections older than this are not used: load balancers drop theirs after a minute, some servers much earlier. */
#define IDLE_SECONDS 15L

#define AUTHORIZATION "Authorization: Token "

/* Up to here no curl ever asks the server for leave to send a body; newer ones do so above 1 MiB only. */
#define EXPECT_BODY 1024

#define PREREQ_VERSION 0x075000 /* 7.80.0 */

crux_transfer *crux_transfer_new(crux_request *request, const char *token, double deadline, double connect_timeout) {
  size_t len = strlen(token);
  crux_transfer *t = malloc(sizeof *t + sizeof AUTHORIZATION + len);
  if (!t) return NULL;
  memset(t, 0, sizeof *t);
  atomic_init(&t->refs, 1);
  t->request = crux_request_retain(request);
  t->deadline = deadline;
  t->connect_timeout = connect_timeout;
  t->started = crux_now();
  memcpy(t->authorization, AUTHORIZATION, sizeof AUTHORIZATION - 1);
  memcpy(t->authorization + sizeof AUTHORIZATION - 1, token, len + 1);
  t->head_size = crux_request_head_size(request, t->authorization);
  return t;
}

const char *crux_transfer_token(const crux_transfer *t) { return t->authorization + sizeof AUTHORIZATION - 1; }

crux_transfer *crux_transfer_retain(crux_transfer *t) {
  atomic_fetch_add(&t->refs, 1);
  return t;
}

void crux_transfer_release(crux_transfer *t) {
  static void *(*const volatile wipe)(void *, int, size_t) = memset; /* which no compiler takes for idle work */
  if (!t || atomic_fetch_sub(&t->refs, 1) != 1) return;
  wipe(t->authorization, '\0', strlen(t->authorization));
  if (t->forget_owner) t->forget_owner(t->owner);
  crux_request_release(t->request);
  crux_buffer_free(&t->reply.head);
  crux_buffer_free(&t->reply.body);
  free(t);
}

bool crux_transfer_abort(crux_transfer *t) {
  int waiting = CRUX_WAITING;
  return atomic_compare_exchange_strong(&t->stage, &waiting, CRUX_ABORTED) || waiting == CRUX_ABORTED;
}

size_t crux_transfer_size(const crux_transfer *t) {
  return t->head_size + t->request->body_len;
}

/* --- what curl calls ----------------------------------------------------------------------------------------------- */

static bool has_prereq(void) {
#if LIBCURL_VERSION_NUM >= PREREQ_VERSION
  return crux_process_curl_version() >= PREREQ_VERSION;
#else
  return false;
#endif
}

static long request_size(const crux_transfer *t) {
  long size = 0;
  curl_easy_getinfo(t->easy->curl, CURLINFO_REQUEST_SIZE, &size);
  return size;
}

static int refuse(crux_transfer *t, crux_cause cause) {
  t->reply.cause = cause;
  return 1;
}

/* How much of head and body is curl's no more. It counts the head and what went with it in one number, and body bytes in
   another; which ones overlap depends on its version. The head's length is known. */
static size_t handed_over(const crux_transfer *t) {
  curl_off_t uploaded = 0;
  size_t sum, all = crux_transfer_size(t);
  /* before a connection stood, all that was counted is a proxy's CONNECT */
  long size = t->ready || !has_prereq() ? request_size(t) - t->size_before : 0;
  curl_easy_getinfo(t->easy->curl, CURLINFO_SIZE_UPLOAD_T, &uploaded);
  if (size <= 0) return 0;
  sum = uploaded > 0 ? t->head_size + (size_t)uploaded : (size_t)size;
  return sum < all ? sum : all;
}

/* A head that comes before the peer has acknowledged a byte of the request was sent without knowing of it. TLS adds to
   what is on the way, but no peer understands the request before it has a whole record, which is more than all it adds.
   Where none of it is on the way, it went past TCP: by a sockmap, another path of MPTCP, SMC. */
static bool is_unasked(const crux_transfer *t) {
  long long on_the_way = t->fd == CURL_SOCKET_BAD ? -1 : crux_socket_unacknowledged(t->fd);
  return on_the_way >= 0 && (size_t)on_the_way >= handed_over(t);
}

#if LIBCURL_VERSION_NUM >= PREREQ_VERSION
/* Nothing of the request has been handed over yet: is the connection that curl has chosen one that nobody has spoken on
   since the last answer? */
static bool connection_is_fit(crux_transfer *t, const crux_ends *ends) {
  bool fresh = t->opened > 0;
  curl_socket_t fd = crux_sockets_find(t->sockets, ends, fresh ? t : NULL);
  crux_socket_state state = crux_socket_look(fd);
  t->opened = 0;
  t->fd = fd;
  /* what stands on a TLS connection just made is session tickets, most likely; the head's first line will tell */
  if (state == CRUX_SOCKET_CLEAN || (fresh && (state == CRUX_SOCKET_UNTOLD ||
      (state == CRUX_SOCKET_UNREAD && t->request->config->settings.tls)))) {
    t->reply.reused = !fresh;
    return true;
  }
  if (state == CRUX_SOCKET_UNREAD) t->reply.cause = CRUX_CAUSE_UNASKED;
  t->spoiled = !t->fresh && !fresh;
  if (fd != CURL_SOCKET_BAD) crux_socket_spoil(fd);
  return false;
}

static int on_prereq(void *p, char *ip, char *local_ip, int port, int local_port) {
  crux_transfer *t = ((crux_easy *)p)->transfer;
  long size = request_size(t);
  int waiting = CRUX_WAITING;
  crux_ends ends = { .local_port = local_port, .port = port };
  (void)local_ip;
  strncat(ends.address, ip ? ip : "", sizeof ends.address - 1);
  t->ready = *t->opens = true;
  if (t->prereqs++ > 0 && size > t->size_before) return refuse(t, CRUX_CAUSE_RESEND);
  t->size_before = size;
  if (!connection_is_fit(t, &ends)) return 1;
  if (!atomic_compare_exchange_strong(&t->stage, &waiting, CRUX_SENT) && waiting == CRUX_ABORTED)
    return refuse(t, CRUX_CAUSE_ABORTED);
  return CURL_PREREQFUNC_OK;
}
#endif

static curl_socket_t on_open(void *p, curlsocktype purpose, struct curl_sockaddr *address) {
  crux_transfer *t = ((crux_easy *)p)->transfer;
  curl_socket_t fd = crux_sockets_open(t->sockets, address, t);
  (void)purpose;
  if (fd != CURL_SOCKET_BAD) t->opened++;
  else if (errno == ENOMEM || errno == ENOBUFS) t->reply.cause = CRUX_CAUSE_NOMEM;
  else if (errno == EMFILE || errno == ENFILE) t->reply.cause = CRUX_CAUSE_NOFILE;
  return fd;
}

/* Belongs to the connection, which outlives the transfer: hence not the transfer's but the engine's. */
static int on_close(void *p, curl_socket_t fd) {
  crux_sockets_close(p, fd);
  return 0;
}

/* "HTTP/1.1 200 …" */
static int status_of(const char *line, size_t len, char version[4]) {
  size_t i = 5;
  int status = 0, digits;
  if (len < 12) return 0;
  for (; i < len && line[i] != ' '; i++) {
    if (i < 8) version[i - 5] = line[i], version[i - 4] = '\0';
  }
  while (i < len && line[i] == ' ') i++;
  for (digits = 0; digits < 3 && i < len && line[i] >= '0' && line[i] <= '9'; digits++, i++)
    status = status * 10 + (line[i] - '0');
  return digits == 3 ? status : 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *p) {
  crux_transfer *t = ((crux_easy *)p)->transfer;
  size_t len = size * count;
  if (t->head_done) return len; /* a trailer */
  if (t->reply.time.first_byte == 0) t->reply.time.first_byte = crux_now() - t->started;
  if (!t->head_begun) {
    t->head_begun = true;
    crux_buffer_clear(&t->reply.head);
    t->head_status = status_of(data, len, t->reply.http_version);
    if (is_unasked(t)) return (size_t)refuse(t, CRUX_CAUSE_UNASKED) - 1;
  }
  switch (crux_buffer_add(&t->reply.head, data, len, CRUX_HEAD_MAX)) {
    case CRUX_BUFFER_FULL: return (size_t)refuse(t, CRUX_CAUSE_HEAD_LIMIT) - 1;
    case CRUX_BUFFER_NOMEM: return (size_t)refuse(t, CRUX_CAUSE_NOMEM) - 1;
    default: break;
  }
  if (len <= 2 && (data[0] == '\r' || data[0] == '\n')) {
    if (t->head_status >= 200) t->head_done = true;
    else t->head_begun = false; /* an interim response */
  }
  return len;
}

static size_t on_body(char *data, size_t size, size_t count, void *p) {
  crux_transfer *t = ((crux_easy *)p)->transfer;
  size_t len = size * count;
  switch (crux_buffer_add(&t->reply.body, data, len, t->request->config->settings.max_body)) {
    case CRUX_BUFFER_FULL: t->reply.body_end = CRUX_BODY_LIMIT; return 0;
    case CRUX_BUFFER_NOMEM: t->reply.body_end = CRUX_BODY_NOMEM; return 0;
    default: return len;
  }
}

/* --- setting up ---------------------------------------------------------------------------------------------------- */

crux_easy *crux_easy_new(void) {
  crux_easy *easy = calloc(1, sizeof *easy);
  if (!easy) return NULL;
  easy->curl = curl_easy_init();
  if (easy->curl) return easy;
  free(easy);
  return NULL;
}

void crux_easy_free(crux_easy *easy) {
  curl_easy_cleanup(easy->curl);
  curl_url_cleanup(easy->parts);
  free(easy->url);
  crux_config_release(easy->config);
  free(easy);
}

static void forget(crux_easy *easy) {
  curl_easy_reset(easy->curl);
  crux_config_release(easy->config);
  free(easy->url);
  easy->config = NULL;
  easy->endpoint = NULL;
  easy->url = NULL;
  easy->reuse = CRUX_REUSE_KEPT;
  easy->guarded = false;
}

/* What every attempt under a config shares. Options that a run-time curl does not know are ones it does not need. */
static bool set_config(crux_easy *easy, const crux_settings *s, crux_sockets *sockets) {
  CURL *curl = easy->curl;
  bool ok = !curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) &&
       !curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
       !curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) && !curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L) &&
       !curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) &&
       !curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) && !curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) &&
       !curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body) &&
       !curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header) &&
       !curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_open) &&
       !curl_easy_setopt(curl, CURLOPT_CLOSESOCKETFUNCTION, on_close) &&
       !curl_easy_setopt(curl, CURLOPT_CLOSESOCKETDATA, sockets) &&
       !curl_easy_setopt(curl, CURLOPT_WRITEDATA, easy) && !curl_easy_setopt(curl, CURLOPT_HEADERDATA, easy) &&
       !curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, easy) && !curl_easy_setopt(curl, CURLOPT_PRIVATE, easy) &&
       !curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, easy->error) &&
       /* an empty string, unlike none, keeps curl from asking the environment */
       !curl_easy_setopt(curl, CURLOPT_PROXY, s->tls && s->proxy ? s->proxy : "") &&
       !curl_easy_setopt(curl, CURLOPT_NOPROXY, s->tls && s->no_proxy ? s->no_proxy : "") &&
       /* a CA path, Debian's built-in one included, makes curl parse the bundle for each connection */
       !curl_easy_setopt(curl, CURLOPT_CAPATH, s->ca_path) && !curl_easy_setopt(curl, CURLOPT_PROXY_CAPATH, s->ca_path);
  if (ok && (s->ca_file || s->ca_path)) {
    ok = !curl_easy_setopt(curl, CURLOPT_CAINFO, s->ca_file) &&
         !curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO, s->ca_file);
  }
  if (!ok) return false;
  /* curl would take 64 KiB for each attempt, to keep a head and some hundred bytes in. The other buffer, BUFFERSIZE, is left
     alone: 7.88 does not take its size while it has one, not after a reset either, which then overruns the one it has. */
#if LIBCURL_VERSION_NUM >= 0x073e00
  curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 16384L); /* the least there is */
#endif
#if LIBCURL_VERSION_NUM >= 0x074000
  curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L);
#endif
#if LIBCURL_VERSION_NUM >= 0x074100
  curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN, IDLE_SECONDS);
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
  curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L); /* else a deadline during a slow look-up waits for the look-up */
#endif
  return true;
}

/* curl resends a request when a kept connection ends before the answer's first byte, and says nothing of it. */
static bool set_guard(crux_transfer *t, crux_easy *easy) {
  CURL *curl = easy->curl;
  bool guarded = has_prereq();
  crux_reuse reuse = !guarded ? CRUX_REUSE_NONE : t->fresh ? CRUX_REUSE_FRESH : CRUX_REUSE_KEPT;
  if (!guarded) {
    /* nobody says when it is sent, so it is as of now; and only a new connection is never resent on */
    int waiting = CRUX_WAITING;
    if (!atomic_compare_exchange_strong(&t->stage, &waiting, CRUX_SENT) && waiting == CRUX_ABORTED) return false;
  }
#if LIBCURL_VERSION_NUM >= PREREQ_VERSION
  if (easy->guarded != guarded && (curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, guarded ? on_prereq : NULL) ||
                                   curl_easy_setopt(curl, CURLOPT_PREREQDATA, easy)))
    return false;
#endif
  easy->guarded = guarded;
  if (easy->reuse != reuse && (curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, (long)(reuse != CRUX_REUSE_KEPT)) ||
                               curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, (long)(reuse == CRUX_REUSE_NONE))))
    return false;
  easy->reuse = reuse;
  return true;
}

static bool set_url(crux_easy *easy, const char *url) {
  if (easy->url && strcmp(easy->url, url) == 0) return true;
  free(easy->url);
  easy->url = NULL;
  if (!easy->parts) easy->parts = curl_url();
  if (!easy->parts || curl_url_set(easy->parts, CURLUPART_URL, url, CURLU_PATH_AS_IS) ||
      curl_easy_setopt(easy->curl, CURLOPT_URL, NULL) || /* curl remembers the text of the one before */
      curl_easy_setopt(easy->curl, CURLOPT_CURLU, easy->parts))
    return false;
  easy->url = strdup(url);
  return easy->url != NULL;
}

static bool set_endpoint(crux_easy *easy, const crux_endpoint *endpoint) {
  if (easy->endpoint == endpoint) return true;
  easy->endpoint = NULL;
  if (!endpoint->has_body && curl_easy_setopt(easy->curl, CURLOPT_HTTPGET, 1L)) return false;
  if (curl_easy_setopt(easy->curl, CURLOPT_CUSTOMREQUEST, endpoint->method)) return false;
  easy->endpoint = endpoint;
  return true;
}

/* All but the first, Host, which curl writes just so by itself. */
static struct curl_slist *set_headers(crux_transfer *t, crux_easy *easy) {
  const char *lines[CRUX_HEADERS];
  int i;
  crux_request_headers(t->request, t->authorization, lines);
  for (i = 1; i < CRUX_HEADERS; i++) {
    easy->headers[i].data = (char *)lines[i];
    easy->headers[i].next = &easy->headers[i + 1];
  }
  easy->headers[CRUX_HEADERS].data = (char *)"Expect:";
  easy->headers[CRUX_HEADERS].next = NULL;
  if (t->request->body_len <= EXPECT_BODY) easy->headers[CRUX_HEADERS - 1].next = NULL;
  return easy->headers + 1;
}

static bool set_request(crux_transfer *t, crux_easy *easy) {
  const crux_request *r = t->request;
  CURL *curl = easy->curl;
  double left = t->deadline - crux_now();
  int timeout = left > 0 ? crux_milliseconds(left) : 0, connect = crux_milliseconds(t->connect_timeout);
  if (r->endpoint->has_body && (curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->body) ||
                                curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len)))
    return false;
  return set_url(easy, r->url) && set_endpoint(easy, r->endpoint) &&
         !curl_easy_setopt(curl, CURLOPT_HTTPHEADER, set_headers(t, easy)) &&
         /* 0 would mean for ever */
         !curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(timeout > 0 ? timeout : 1)) &&
         !curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect > 0 ? connect : 1));
}

static bool alike(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

/* Whether what `set_config` asks of a config is the same in both: single calls make one each. */
static bool serves(const crux_easy *easy, const crux_config *config) {
  const crux_settings *a = easy->config ? &easy->config->settings : NULL, *b = &config->settings;
  return a && (a == b || (a->tls == b->tls && alike(a->proxy, b->proxy) && alike(a->no_proxy, b->no_proxy) &&
                          alike(a->ca_file, b->ca_file) && alike(a->ca_path, b->ca_path)));
}

bool crux_transfer_prepare(crux_transfer *t, crux_easy *easy, crux_sockets *sockets) {
  crux_config *config = t->request->config;
  t->easy = easy;
  easy->transfer = t;
  t->sockets = sockets;
  t->fd = CURL_SOCKET_BAD;
  if (!serves(easy, config)) {
    forget(easy);
    if (!set_config(easy, &config->settings, sockets)) return false;
    easy->config = crux_config_retain(config);
  }
  return set_guard(t, easy) && set_request(t, easy);
}

/* --- the account --------------------------------------------------------------------------------------------------- */

static double seconds_at(CURL *curl, CURLINFO info) {
  curl_off_t us = 0;
  curl_easy_getinfo(curl, info, &us);
  return (double)us / 1e6;
}

static void read_times(crux_transfer *t, CURL *curl) {
  crux_reply *r = &t->reply;
  double dns, connect, tls;
  if (r->reused) return; /* whatever curl did since on another */
  dns = seconds_at(curl, CURLINFO_NAMELOOKUP_TIME_T);
  connect = seconds_at(curl, CURLINFO_CONNECT_TIME_T);
  tls = seconds_at(curl, CURLINFO_APPCONNECT_TIME_T);
  r->time.dns = dns;
  if (connect > dns) r->time.connect = connect - dns;
  if (tls > connect) r->time.tls = tls - connect;
}

static void read_sizes(crux_transfer *t) {
  t->reply.bytes_sent = handed_over(t);
  t->reply.sends = t->reply.bytes_sent > 0;
}

static void judge(crux_transfer *t) {
  const crux_settings *s = &t->request->config->settings;
  crux_reply *r = &t->reply;
  crux_evidence e = { .code = r->code, .cause = r->cause, .status = r->status, .head = r->status != 0,
    .sent = r->sends > 0, .tls = s->tls, .proxied = s->tls && s->proxy && s->proxy[0], .ready = t->ready };
  r->verdict = crux_judge(&e);
  r->time.total = crux_now() - t->started;
}

bool crux_transfer_conclude(crux_transfer *t, CURLcode code) {
  CURL *curl = t->easy->curl;
  crux_reply *r = &t->reply;
  long os_error = 0;
  if (t->spoiled) {
    t->spoiled = false;
    t->fresh = true;
    t->ready = false;
    t->prereqs = t->opened = 0;
    t->size_before = 0;
    r->cause = CRUX_CAUSE_NONE;
    return true;
  }
  /* a connection that could not be opened matters only if no other was */
  if (t->ready && (r->cause == CRUX_CAUSE_NOFILE || (r->cause == CRUX_CAUSE_NOMEM && !t->head_begun && !t->unwatched)))
    r->cause = CRUX_CAUSE_NONE;
  r->code = code;
  if (code != CURLE_OK) {
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_error);
    r->os_error = (int)os_error;
    memcpy(r->error, t->easy->error, sizeof r->error);
  }
  if (t->head_done && r->cause != CRUX_CAUSE_UNASKED) r->status = t->head_status;
  if (r->body_end == CRUX_BODY_WHOLE && code != CURLE_OK) r->body_end = CRUX_BODY_CUT;
  read_times(t, curl);
  read_sizes(t);
  judge(t);
  return false;
}

void crux_transfer_fail(crux_transfer *t, crux_cause cause) {
  t->reply.cause = cause;
  judge(t);
}
