/* schema: a table against field lists: what is wrong with it, as data. error.c words it. */
#ifndef CRUX_BINDING_SCHEMA_H
#define CRUX_BINDING_SCHEMA_H

#include "json_writer.h"
#include "names.h"
#include "state.h"
#include "../http/config.h"

enum {
  CRUX_ROWS_MAX = 64, /* of all lists that a table is held against */
  CRUX_LISTS_MAX = 3, /* with the one that ends them */
  CRUX_DEPTH_MAX = 16,
  CRUX_PATH_MAX = 256
};

typedef enum {
  CRUX_VALID,
  CRUX_UNKNOWN_FIELD, /* a key that is in none of the lists */
  CRUX_WRONG_VALUE,   /* none of the field's type, or nothing where something is required */
  CRUX_OTHER_KEYS,    /* a list with other keys than 1, 2, 3 */
  CRUX_HOLE,          /* a list that lacks this item */
  CRUX_ITEM_COUNT,    /* a list with too few or too many items: `number` */
  CRUX_TOO_DEEP,
  CRUX_TOO_LONG,      /* with this field more JSON than CRUX_JSON_MAX */
  CRUX_NOT_LOOPBACK,  /* an http:// URL of another machine */
  CRUX_BAD_FILE,      /* `number` is its errno */
  CRUX_ENCRYPTED_KEY,
  CRUX_ALONE,         /* an option without `nearest`, which it needs */
  CRUX_NOT_BUILT_IN,  /* this libcurl cannot do it: `number` is its code */
  CRUX_OTHER_API,     /* an endpoint, `nearest`, that the chosen generation of the API lacks */
  CRUX_NO_MEMORY
} crux_problem;

typedef struct {
  crux_problem problem;
  const crux_field *field;       /* what was expected; NULL of an unknown one */
  crux_field_list lists[CRUX_LISTS_MAX]; /* what is known where an unknown field was found */
  unsigned hidden;               /* of the list that `field` is in */
  char path[CRUX_PATH_MAX];      /* of the value; of an unknown field: of its table */
  const char *nearest;           /* the known name nearest to an unknown one, or NULL */
  int value;                     /* its stack index; of an unknown field: its key's */
  int number;
} crux_invalid;

/* What a table holds for the rows of field lists: read raw, at once and once. The values are on the
   stack, so that what is checked is what is used, whatever becomes of the table. */
typedef struct {
  const crux_field_list *lists;
  int table;
  unsigned given;        /* one bit for each list of which there is a value */
  bool has_unknown;      /* there are keys that are in no list */
  int at[CRUX_ROWS_MAX]; /* for each row, list after list, the stack index of its value, or 0 */
} crux_snapshot;

/* Whether the lists have few enough rows, those of nested tables too. */
bool crux_schema_fits(const crux_field_list *lists);

/* Runs no Lua and allocates nothing that Lua would collect for; the lists end in one without
   fields. Raises if there is no room on the stack. */
void crux_schema_take(lua_State *L, int table, const crux_field_list *lists, crux_snapshot *s);
/* Whether all is as it should be; the same promise. Unknown fields come first, at any depth, then
   the first fault in the order of the rows. With a writer, the first list is of arguments: they
   are written, as an object, and crux.null counts as absent in an optional scalar. A base URL is
   parsed into `url`. */
bool crux_schema_check(lua_State *L, const crux_snapshot *s, crux_json_writer *json,
                       crux_base_url *url, crux_invalid *invalid);
/* What was given by that name, if it is a string without a NUL; else NULL. Valid while it is on the
   stack. */
const char *crux_snapshot_text(lua_State *L, const crux_snapshot *s, const char *name);

#endif
