/* run_list: see run_list.h. */
#include "run_list.h"

void crux_run_list_init(crux_run_list *list) {
  *list = (crux_run_list){ .end = &list->first };
}

void crux_run_list_push(crux_run_list *list, crux_connection *c) {
  if (c->run_list.is_in) return;
  c->run_list.is_in = true;
  c->run_list.next = NULL;
  *list->end = c;
  list->end = &c->run_list.next;
  list->count++;
}

void crux_run_list_remove(crux_run_list *list, crux_connection *c) {
  crux_connection **link = &list->first;
  while (*link != c) link = &(*link)->run_list.next;
  *link = c->run_list.next;
  if (!*link) list->end = link;
  list->count--;
  c->run_list.is_in = false;
}
