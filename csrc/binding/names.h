/* names: finds the row of a name in field lists, and the name nearest to a misspelt one. */
#ifndef CRUX_BINDING_NAMES_H
#define CRUX_BINDING_NAMES_H

#include "../api.h"

typedef struct {
  const crux_field *fields; /* NULL ends an array of lists */
  unsigned hidden;          /* flags: a row that has one of them counts as unknown */
} crux_field_list;

/* The row of that name, or NULL; `*number` counts the rows in front of it, `*list` the lists. The
   name of `len` bytes ends in a NUL; one with another NUL in it is none. */
const crux_field *crux_find_row(const crux_field_list *lists, const char *name, size_t len,
                                int *number, int *list);
bool crux_is_known(const crux_field_list *lists, const char *name);
/* The nearest name in the lists, or NULL if none is near. */
const char *crux_nearest_name(const crux_field_list *lists, const char *name);

#endif
