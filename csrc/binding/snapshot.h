/* snapshot: reads the values of a table for the rows of field lists, all at once. */
#ifndef CRUX_BINDING_SNAPSHOT_H
#define CRUX_BINDING_SNAPSHOT_H

#include "names.h"
#include "state.h"

enum { CRUX_ROWS_MAX = 64 }; /* most rows of all lists that a table is checked against */

/* The values of a table for the rows of field lists, read raw and once. They stay on the stack, so
   that what is checked is what is used, whatever becomes of the table. */
typedef struct {
  const crux_field_list *lists;
  int table;
  unsigned given;        /* one bit for each list of which there is a value */
  bool has_unknown;      /* there are keys that are in no list */
  int at[CRUX_ROWS_MAX]; /* for each row, list after list, the stack index of its value, or 0 */
} crux_snapshot;

/* The lists end with one without fields. Runs no Lua, not even a finalizer; raises if there is no
   room on the stack. */
void crux_snapshot_take(lua_State *L, int table, const crux_field_list *lists, crux_snapshot *s);
/* The string at an index, if it has no NUL in it; NULL for anything else. */
const char *crux_text_at(lua_State *L, int index);
/* The same for the value of that name; valid while it is on the stack. */
const char *crux_snapshot_text(lua_State *L, const crux_snapshot *s, const char *name);
/* Whether it is JSON's null, as lua-cjson and ngx_lua have it. */
bool crux_is_null(lua_State *L, int index);

#endif
