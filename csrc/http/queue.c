#include "queue.h"

#include <stdlib.h>

crux_queue *crux_queue_of(crux_queue **lines, const crux_transfer *t) {
  const crux_config *config = t->request->config;
  crux_queue *line;
  for (line = *lines; line && line->client != config->client; line = line->next) continue;
  if (!line) {
    line = calloc(1, sizeof *line);
    if (!line) return NULL;
    line->client = config->client;
    line->next = *lines;
    *lines = line;
  }
  line->limit = config->settings.max_connections;
  return line;
}

static bool before(const crux_transfer *a, const crux_transfer *b) {
  return a->deadline != b->deadline ? a->deadline < b->deadline : a->turn < b->turn;
}

static void put(crux_queue *line, crux_transfer *t, size_t place) {
  line->heap[place] = t;
  t->place = place;
}

static void rise(crux_queue *line, crux_transfer *t, size_t place) {
  while (place > 0 && before(t, line->heap[(place - 1) / 2])) {
    put(line, line->heap[(place - 1) / 2], place);
    place = (place - 1) / 2;
  }
  put(line, t, place);
}

static void sink(crux_queue *line, crux_transfer *t, size_t place) {
  for (;;) {
    size_t child = 2 * place + 1;
    if (child >= line->count) break;
    if (child + 1 < line->count && before(line->heap[child + 1], line->heap[child])) child++;
    if (!before(line->heap[child], t)) break;
    put(line, line->heap[child], place);
    place = child;
  }
  put(line, t, place);
}

bool crux_queue_push(crux_queue *line, crux_transfer *t) {
  if (line->count == line->room) {
    size_t room = line->room ? line->room * 2 : 16;
    crux_transfer **grown = realloc(line->heap, room * sizeof *grown);
    if (!grown) return false;
    line->heap = grown;
    line->room = room;
  }
  t->line = line;
  t->opens = &line->open;
  t->turn = line->turns++;
  rise(line, t, line->count++);
  return true;
}

void crux_queue_remove(crux_queue *line, crux_transfer *t) {
  size_t place = t->place;
  crux_transfer *last = line->heap[--line->count];
  if (last == t) return;
  if (place > 0 && before(last, line->heap[(place - 1) / 2])) rise(line, last, place);
  else sink(line, last, place);
}

crux_transfer *crux_queue_pop(crux_queue *line) {
  crux_transfer *t;
  if (line->count == 0 || line->active >= (line->open ? line->limit : 1)) return NULL;
  t = line->heap[0];
  crux_queue_remove(line, t);
  line->active++;
  return t;
}

crux_transfer *crux_queue_pop_expired(crux_queue *line, double now) {
  crux_transfer *t;
  if (line->count == 0 || line->heap[0]->deadline > now) return NULL;
  t = line->heap[0];
  crux_queue_remove(line, t);
  return t;
}

void crux_queue_free(crux_queue *line) {
  free(line->heap);
  free(line);
}

void crux_queue_prune(crux_queue **lines, crux_queue *line) {
  if (line->active > 0 || line->count > 0) return;
  line->open = false;
  if (*lines == line && !line->next) return;
  while (*lines != line) lines = &(*lines)->next;
  *lines = line->next;
  crux_queue_free(line);
}
