/* queue: see queue.h. */
#include "queue.h"

#include <stdlib.h>

crux_queue *crux_queue_of(crux_queue **queues, const crux_transfer *t) {
  const crux_config *config = t->request->config;
  crux_queue *queue;
  for (queue = *queues; queue && queue->client != config->client; queue = queue->next) continue;
  if (!queue) {
    queue = calloc(1, sizeof *queue);
    if (!queue) return NULL;
    queue->client = config->client;
    queue->next = *queues;
    *queues = queue;
  }
  queue->limit = config->settings.max_connections;
  return queue;
}

bool crux_queue_push(crux_queue *queue, crux_transfer *t) {
  t->queue = queue;
  return crux_deadlines_push(&queue->waiting, t);
}

void crux_queue_remove(crux_queue *queue, crux_transfer *t) {
  crux_deadlines_remove(&queue->waiting, t);
}

crux_transfer *crux_queue_pop(crux_queue *queue) {
  crux_transfer *t = crux_deadlines_first(&queue->waiting);
  if (!t || queue->active >= (queue->open ? queue->limit : 1)) return NULL;
  crux_queue_remove(queue, t);
  queue->active++;
  return t;
}

crux_transfer *crux_queue_pop_expired(crux_queue *queue, double now) {
  crux_transfer *t = crux_deadlines_first(&queue->waiting);
  if (!t || t->deadline > now) return NULL;
  crux_queue_remove(queue, t);
  return t;
}

void crux_queue_free(crux_queue *queue) {
  crux_deadlines_free(&queue->waiting);
  free(queue);
}

void crux_queue_prune(crux_queue **queues, crux_queue *queue) {
  if (queue->active > 0 || queue->waiting.count > 0) return;
  queue->open = false;
  queue->opens_at = 0;
  if (*queues == queue && !queue->next) return;
  while (*queues != queue) queues = &(*queues)->next;
  *queues = queue->next;
  crux_queue_free(queue);
}
