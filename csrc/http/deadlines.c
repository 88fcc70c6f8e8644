/* deadlines: see deadlines.h. */
#include "deadlines.h"

#include <stdlib.h>

static bool expires_before(const crux_transfer *a, const crux_transfer *b) {
  if (a->deadline != b->deadline) return a->deadline < b->deadline;
  return a->heap.sequence < b->heap.sequence;
}

static void put(crux_deadlines *d, crux_transfer *t, size_t index) {
  d->heap[index] = t;
  t->heap.index = index;
}

static void sift_up(crux_deadlines *d, crux_transfer *t, size_t index) {
  while (index > 0 && expires_before(t, d->heap[(index - 1) / 2])) {
    put(d, d->heap[(index - 1) / 2], index);
    index = (index - 1) / 2;
  }
  put(d, t, index);
}

static void sift_down(crux_deadlines *d, crux_transfer *t, size_t index) {
  for (;;) {
    size_t child = 2 * index + 1;
    if (child >= d->count) break;
    if (child + 1 < d->count && expires_before(d->heap[child + 1], d->heap[child])) child++;
    if (!expires_before(d->heap[child], t)) break;
    put(d, d->heap[child], index);
    index = child;
  }
  put(d, t, index);
}

bool crux_deadlines_push(crux_deadlines *d, crux_transfer *t) {
  if (d->count == d->capacity) {
    size_t capacity = d->capacity ? d->capacity * 2 : 16;
    crux_transfer **grown = realloc(d->heap, capacity * sizeof *grown);
    if (!grown) return false;
    d->heap = grown;
    d->capacity = capacity;
  }
  t->heap.sequence = d->sequence++;
  sift_up(d, t, d->count++);
  return true;
}

void crux_deadlines_remove(crux_deadlines *d, crux_transfer *t) {
  size_t index = t->heap.index;
  crux_transfer *last = d->heap[--d->count];
  if (last == t) return;
  if (index > 0 && expires_before(last, d->heap[(index - 1) / 2])) sift_up(d, last, index);
  else sift_down(d, last, index);
}

void crux_deadlines_free(crux_deadlines *d) {
  free(d->heap);
  d->heap = NULL;
  d->count = d->capacity = 0;
}
