/* multi: see multi.h. */
#include "multi.h"

#include "../os/process.h"
#include "libcurl.h"

#include <stdlib.h>

/* The most connections of a multi. curl_easy_send and curl_easy_recv search all of them, which
   limits the number. But each multi has a parsed CA bundle and wakeup descriptors of its own, so
   there should be few multis. */
#define CONNECTIONS 128

/* Seconds until libcurl is called again after it ran out of memory. */
#define RETRY 0.01

static unsigned capacity(void) {
  return crux_libcurl_version() >= CRUX_CURL_CLOSES_AT_ONCE ? CONNECTIONS : 1;
}

/* --- callbacks of libcurl --- */

static int on_socket(CURL *curl, curl_socket_t fd, int what, void *user, void *unused) {
  crux_multi *multi = user;
  bool in = what == CURL_POLL_IN || what == CURL_POLL_INOUT;
  bool out = what == CURL_POLL_OUT || what == CURL_POLL_INOUT;
  crux_watcher *connection = NULL;
  (void)unused;
  if (crux_poller_watch(multi->list->poller, fd, in, out, multi)) return 0;
  /* returning an error would fail every connection of the multi. A handle of libcurl's own, which
     closes connections, has no CURLOPT_PRIVATE. */
  curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&connection);
  if (connection) connection->failed = multi->list->watch_failed = true;
  return 0;
}

static int on_timer(CURLM *curlm, long ms, void *user) {
  crux_multi *multi = user;
  (void)curlm;
  multi->timer = ms < 0 ? -1 : crux_now() + (double)ms / 1e3;
  return 0;
}

/* --- creation and destruction --- */

static bool set_up(crux_multi *multi) {
  CURLM *curlm = multi->curlm;
  bool ok = !curl_multi_setopt(curlm, CURLMOPT_SOCKETFUNCTION, on_socket) &&
            !curl_multi_setopt(curlm, CURLMOPT_SOCKETDATA, multi) &&
            !curl_multi_setopt(curlm, CURLMOPT_TIMERFUNCTION, on_timer) &&
            !curl_multi_setopt(curlm, CURLMOPT_TIMERDATA, multi) &&
            /* if it were less than the number of connections, libcurl would close some */
            !curl_multi_setopt(curlm, CURLMOPT_MAXCONNECTS, 2L * CONNECTIONS);
#if LIBCURL_VERSION_NUM >= 0x081400
  /* without QUICK_EXIT, curl_multi_cleanup waits for abandoned name look-ups. A look-up takes two
     threads; with the default of 20 threads a few slow look-ups would delay all others. */
  curl_multi_setopt(curlm, CURLMOPT_QUICK_EXIT, 1L);
  curl_multi_setopt(curlm, CURLMOPT_RESOLVE_THREADS_MAX, 2L * CONNECTIONS);
#endif
  return ok;
}

static void free_multi(crux_multi *multi) {
  if (multi->curlm) curl_multi_cleanup(multi->curlm);
  free(multi);
}

crux_multi *crux_multis_reserve(crux_multis *m) {
  crux_multi *multi = m->first;
  while (multi && multi->count >= capacity()) multi = multi->next;
  if (multi) return multi;
  multi = calloc(1, sizeof *multi);
  if (!multi) return NULL;
  multi->watcher.type = CRUX_WATCHER_MULTI;
  multi->timer = -1;
  multi->list = m;
  multi->curlm = curl_multi_init();
  if (!multi->curlm || !set_up(multi)) {
    free_multi(multi);
    return NULL;
  }
  multi->next = m->first;
  m->first = multi;
  return multi;
}

bool crux_multi_add(crux_multi *multi, CURL *curl) {
  if (curl_multi_add_handle(multi->curlm, curl) != CURLM_OK) return false;
  multi->count++;
  multi->connecting++;
  multi->list->connecting++;
  return true;
}

void crux_multi_remove(crux_multi *multi, CURL *curl, bool connecting) {
  curl_multi_remove_handle(multi->curlm, curl);
  multi->count--;
  if (connecting) {
    multi->connecting--;
    multi->list->connecting--;
  }
}

/* One empty multi is kept, since it caches the parsed CA bundle. */
void crux_multi_prune(crux_multi *multi) {
  crux_multi **link = &multi->list->first;
  if (multi->count > 0 || (capacity() > 1 && !(*link)->next)) return;
  while (*link != multi) link = &(*link)->next;
  *link = multi->next;
  free_multi(multi);
}

void crux_multis_free(crux_multis *m) {
  while (m->first) {
    crux_multi *multi = m->first;
    m->first = multi->next;
    free_multi(multi);
  }
}

/* --- connecting --- */

/* When libcurl runs out of memory it may not set its timer again, and connections that wait for the
   timer would never go on: so the timer is set here. */
static void socket_action(crux_multi *multi, curl_socket_t fd, int what) {
  int running;
  if (curl_multi_socket_action(multi->curlm, fd, what, &running) != CURLM_OK)
    multi->timer = crux_now() + RETRY;
}

void crux_multi_socket_action(crux_multi *multi, const crux_ready *ready) {
  int what = (ready->in ? CURL_CSELECT_IN : 0) | (ready->out ? CURL_CSELECT_OUT : 0) |
             (ready->err ? CURL_CSELECT_ERR : 0);
  socket_action(multi, ready->fd, what);
}

void crux_multis_run_timers(crux_multis *m, double now) {
  crux_multi *multi;
  if (m->connecting == 0) return;
  for (multi = m->first; multi; multi = multi->next) {
    if (multi->connecting == 0 || multi->timer < 0 || multi->timer > now) continue;
    multi->timer = -1;
    socket_action(multi, CURL_SOCKET_TIMEOUT, 0);
  }
}

double crux_multis_timeout(const crux_multis *m, double now) {
  const crux_multi *multi;
  double soonest = -1;
  if (m->connecting == 0) return -1;
  for (multi = m->first; multi; multi = multi->next) {
    double left = multi->timer > now ? multi->timer - now : 0;
    if (multi->connecting > 0 && multi->timer >= 0 && (soonest < 0 || left < soonest))
      soonest = left;
  }
  return soonest;
}

CURL *crux_multis_next_done(crux_multis *m, CURLcode *code) {
  crux_multi *multi;
  int left;
  if (m->connecting == 0) return NULL;
  for (multi = m->first; multi; multi = multi->next) {
    CURLMsg *message = multi->connecting > 0 ? curl_multi_info_read(multi->curlm, &left) : NULL;
    if (!message) continue;
    *code = message->data.result;
    multi->connecting--;
    m->connecting--;
    return message->easy_handle;
  }
  return NULL;
}
