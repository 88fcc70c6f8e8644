/* names: see names.h. */
#include "names.h"

enum { LONGEST = 32 };

const crux_field *crux_find_row(const crux_field_list *lists, const char *name, size_t len,
                                int *number, int *list) {
  const crux_field *row;
  int rows = 0, i;
  for (i = 0; lists[i].fields; i++) {
    for (row = lists[i].fields; row->name; row++, rows++) {
      if (row->name[0] != name[0] || strcmp(row->name, name) != 0) continue;
      if (row->flags & lists[i].hidden || strlen(name) != len) return NULL;
      *number = rows;
      *list = i;
      return row;
    }
  }
  return NULL;
}

bool crux_is_known(const crux_field_list *lists, const char *name) {
  int number, list;
  return crux_find_row(lists, name, strlen(name), &number, &list) != NULL;
}

static char lower(char c) { return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c); }

/* How many slips lie between two names; a capital is none, two letters that changed places are
   one. */
static int edit_distance(const char *a, const char *b) {
  int d[LONGEST + 1][LONGEST + 1], i, j, la = (int)strlen(a), lb = (int)strlen(b);
  if (la > LONGEST || lb > LONGEST) return 99;
  for (i = 0; i <= la; i++) d[i][0] = i;
  for (j = 0; j <= lb; j++) d[0][j] = j;
  for (i = 1; i <= la; i++) {
    for (j = 1; j <= lb; j++) {
      int change = d[i - 1][j - 1] + (lower(a[i - 1]) != lower(b[j - 1]));
      int least = d[i - 1][j] < d[i][j - 1] ? d[i - 1][j] + 1 : d[i][j - 1] + 1;
      bool swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swap && d[i - 2][j - 2] + 1 < least) least = d[i - 2][j - 2] + 1;
      d[i][j] = change < least ? change : least;
    }
  }
  return d[la][lb];
}

const char *crux_nearest_name(const crux_field_list *lists, const char *name) {
  const crux_field *row;
  const char *nearest = NULL;
  int distance = (int)strlen(name) / 3 + 1; /* it has to be less; one slip is always near */
  if (distance < 2) distance = 2;
  for (; lists->fields; lists++) {
    for (row = lists->fields; row->name; row++) {
      int d = edit_distance(name, row->name);
      if (d >= distance || row->flags & lists->hidden) continue;
      distance = d;
      nearest = row->name;
    }
  }
  return nearest;
}
