/* loop URL N IN_FLIGHT [CA_FILE [HELD_FILE]]: the yardstick for calls in flight. PATCH requests by
   a libcurl multi handle over epoll, IN_FLIGHT of them at a time: an easy handle that is done is
   started again at once. First 2 * IN_FLIGHT calls, which connect; once they are done, N calls in
   `measured`, from the first one's start to the last one's end. Prints the microseconds of
   processor time per call of the N. With HELD_FILE instead: one call, then IN_FLIGHT that are not
   answered. Once the server has made the file, prints the KiB of memory per call: what is in use,
   and what is resident. */
#include "request.h"

#include <malloc.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

typedef struct {
  const char *url, *ca_file;
  CURLM *multi;
  int epoll;
  double due; /* when libcurl's timer expires, in seconds; negative: never */
} context;

static double seconds_of(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int on_timer(CURLM *multi, long ms, void *user) {
  context *c = user;
  (void)multi;
  c->due = ms < 0 ? -1 : seconds_of(CLOCK_MONOTONIC) + (double)ms / 1e3;
  return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *known) {
  context *c = user;
  struct epoll_event e = { 0 };
  (void)easy;
  e.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
  e.data.fd = fd;
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(c->epoll, EPOLL_CTL_DEL, fd, &e);
    return 0;
  }
  epoll_ctl(c->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e);
  if (!known) curl_multi_assign(c->multi, fd, c);
  return 0;
}

/* Waits until libcurl has something to do, at most `longest` ms, and runs it. */
static void step(context *c, int longest) {
  struct epoll_event events[64];
  double left = c->due < 0 ? 1 : c->due - seconds_of(CLOCK_MONOTONIC);
  int timeout = left <= 0 ? 0 : (int)(left * 1e3) + 1, running, count, i;
  count = epoll_wait(c->epoll, events, 64, timeout < longest ? timeout : longest);
  for (i = 0; i < count; i++) {
    int mask = (events[i].events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
               (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events[i].events & EPOLLERR ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action(c->multi, events[i].data.fd, mask, &running);
  }
  if (c->due >= 0 && c->due <= seconds_of(CLOCK_MONOTONIC)) {
    c->due = -1;
    curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  }
}

/* An easy handle that is done, or NULL. */
static CURL *next_done(const context *c) {
  int left;
  const CURLMsg *message = curl_multi_info_read(c->multi, &left);
  if (!message) return NULL;
  request_check(message->easy_handle, message->data.result);
  return message->easy_handle;
}

static void start(context *c, CURL **calls, long count) {
  long i;
  for (i = 0; i < count; i++) {
    if (!calls[i]) calls[i] = request_new(c->url, c->ca_file);
    curl_multi_add_handle(c->multi, calls[i]);
  }
}

/* Makes so many calls, IN_FLIGHT at a time, and waits for all of them. */
static void carry(context *c, CURL **calls, long in_flight, long count) {
  long started = count < in_flight ? count : in_flight, done = 0;
  start(c, calls, started);
  while (done < count) {
    CURL *easy;
    step(c, 1000);
    while ((easy = next_done(c))) {
      done++;
      curl_multi_remove_handle(c->multi, easy);
      if (started == count) continue;
      started++;
      curl_multi_add_handle(c->multi, easy);
    }
  }
}

/* With --instr-atstart=no, callgrind counts what happens inside alone. */
static void measured(context *c, CURL **calls, long in_flight, long n) {
  double began = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
  CALLGRIND_START_INSTRUMENTATION;
  carry(c, calls, in_flight, n);
  CALLGRIND_STOP_INSTRUMENTATION;
  printf("%.2f\n", (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - began) / (double)n * 1e6);
}

/* KiB of memory that belong to this process alone. */
static long memory(void) {
  FILE *file = fopen("/proc/self/smaps_rollup", "r");
  char line[256];
  long kib = -1;
  while (file && fgets(line, sizeof line, file)) sscanf(line, "Anonymous: %ld kB", &kib);
  if (file) fclose(file);
  if (kib < 0) fprintf(stderr, "loop: expected /proc/self/smaps_rollup, found none\n"), exit(1);
  return kib;
}

static void hold(context *c, CURL **calls, long in_flight, const char *held) {
  CURL *first;
  long before, resident;
  start(c, calls, 1);
  while (!(first = next_done(c))) step(c, 1000);
  curl_multi_remove_handle(c->multi, first);
  malloc_trim(0);
  before = memory();
  start(c, calls, in_flight);
  while (access(held, F_OK) != 0) {
    step(c, 50);
    if (next_done(c)) fprintf(stderr, "loop: expected no answer, found one\n"), exit(1);
  }
  resident = memory();
  malloc_trim(0);
  printf("%.2f %.2f\n", (double)(memory() - before) / (double)in_flight,
         (double)(resident - before) / (double)in_flight);
}

int main(int argc, char **argv) {
  context c;
  CURL **calls;
  long in_flight, i;
  if (argc < 4) {
    fprintf(stderr, "usage: loop URL N IN_FLIGHT [CA_FILE [HELD_FILE]]\n");
    return 2;
  }
  in_flight = atol(argv[3]);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  c.url = argv[1];
  c.ca_file = argc > 4 ? argv[4] : NULL;
  c.multi = curl_multi_init();
  c.epoll = epoll_create1(EPOLL_CLOEXEC);
  c.due = -1;
  curl_multi_setopt(c.multi, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(c.multi, CURLMOPT_TIMERDATA, &c);
  curl_multi_setopt(c.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(c.multi, CURLMOPT_SOCKETDATA, &c);
  calls = calloc((size_t)in_flight, sizeof *calls);
  if (argc > 5) hold(&c, calls, in_flight, argv[5]);
  else {
    /* by default libcurl closes connections when fewer than a quarter as many handles are added */
    curl_multi_setopt(c.multi, CURLMOPT_MAXCONNECTS, in_flight);
    carry(&c, calls, in_flight, 2 * in_flight);
    measured(&c, calls, in_flight, atol(argv[2]));
  }
  for (i = 0; i < in_flight; i++) {
    if (!calls[i]) continue;
    curl_multi_remove_handle(c.multi, calls[i]);
    curl_easy_cleanup(calls[i]);
  }
  curl_multi_cleanup(c.multi);
  free(calls);
  return 0;
}
