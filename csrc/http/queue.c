/* queue: see queue.h. */
#include "queue.h"

#include <stdlib.h>

static crux_queue *queue_of(crux_queues *queues, const crux_transfer *t) {
  const crux_config *config = t->request->config;
  crux_queue *queue;
  for (queue = queues->first; queue && queue->client != config->client; queue = queue->next)
    continue;
  if (!queue) {
    queue = calloc(1, sizeof *queue);
    if (!queue) return NULL;
    queue->client = config->client;
    queue->next = queues->first;
    queues->first = queue;
  }
  queue->limit = config->settings.max_connections;
  return queue;
}

bool crux_queues_push(crux_queues *queues, crux_transfer *t) {
  crux_queue *queue = queue_of(queues, t);
  if (!queue || !crux_deadlines_push(&queue->waiting, t)) return false;
  t->queue = queue;
  queues->waiting++;
  return true;
}

static void remove_from(crux_queues *queues, crux_queue *queue, crux_transfer *t) {
  crux_deadlines_remove(&queue->waiting, t);
  queues->waiting--;
}

void crux_queues_remove(crux_queues *queues, crux_transfer *t) {
  remove_from(queues, t->queue, t);
  queues->changed = true;
}

crux_transfer *crux_queues_pop_any(crux_queues *queues) {
  crux_queue *queue;
  for (queue = queues->first; queue; queue = queue->next) {
    crux_transfer *t = crux_deadlines_first(&queue->waiting);
    if (!t) continue;
    remove_from(queues, queue, t);
    return t;
  }
  return NULL;
}

crux_transfer *crux_queues_pop(crux_queues *queues, crux_queue *queue) {
  crux_transfer *t = crux_deadlines_first(&queue->waiting);
  if (!t || queue->active >= (queue->full_limit ? queue->limit : 1)) return NULL;
  remove_from(queues, queue, t);
  queue->active++;
  return t;
}

crux_transfer *crux_queues_pop_expired(crux_queues *queues, crux_queue *queue, double now) {
  crux_transfer *t = crux_deadlines_first(&queue->waiting);
  if (!t || t->deadline > now) return NULL;
  remove_from(queues, queue, t);
  return t;
}

void crux_queues_end_active(crux_queues *queues, crux_transfer *t) {
  if (--t->queue->active == 0) queues->changed = true;
  t->queue = NULL;
}

static double sooner(double a, double b) { return a < 0 || (b >= 0 && b < a) ? b : a; }

static double until(double time, double now) { return time > now ? time - now : 0; }

double crux_queues_timeout(const crux_queues *queues, double now) {
  const crux_queue *queue;
  double seconds = -1;
  for (queue = queues->first; queue; queue = queue->next) {
    const crux_transfer *t = crux_deadlines_first(&queue->waiting);
    if (!t) continue;
    seconds = sooner(seconds, until(t->deadline, now));
    if (!queue->full_limit && queue->full_limit_at > 0)
      seconds = sooner(seconds, until(queue->full_limit_at, now));
  }
  return seconds;
}

static void free_queue(crux_queue *queue) {
  crux_deadlines_free(&queue->waiting);
  free(queue);
}

void crux_queues_prune(crux_queues *queues, crux_queue *queue) {
  crux_queue **link = &queues->first;
  if (queue->active > 0 || queue->waiting.count > 0) return;
  queue->full_limit = false;
  queue->full_limit_at = 0;
  if (*link == queue && !queue->next) return;
  while (*link != queue) link = &(*link)->next;
  *link = queue->next;
  free_queue(queue);
}

void crux_queues_free(crux_queues *queues) {
  while (queues->first) {
    crux_queue *queue = queues->first;
    queues->first = queue->next;
    free_queue(queue);
  }
}
