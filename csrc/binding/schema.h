/* schema: checks a table against field lists, and writes its JSON. What is wrong is data, a
   crux_invalid; invalid.c puts it into words. */
#ifndef CRUX_BINDING_SCHEMA_H
#define CRUX_BINDING_SCHEMA_H

#include "json_writer.h"
#include "snapshot.h"
#include "../http/config.h"

enum {
  CRUX_LISTS_MAX = 3, /* most lists that a table is checked against, the end included */
  CRUX_DEPTH_MAX = 16,
  CRUX_PATH_MAX = 256
};

typedef enum {
  CRUX_VALID,
  CRUX_UNKNOWN_FIELD, /* a key that is in none of the lists */
  CRUX_WRONG_VALUE,   /* not of the field's type, or absent though required */
  CRUX_OTHER_KEYS,    /* a list with other keys than 1, 2, 3 */
  CRUX_HOLE,          /* a list that lacks this item */
  CRUX_ITEM_COUNT,    /* a list with too few or too many items: `number` */
  CRUX_TOO_DEEP,
  CRUX_TOO_LONG,      /* with this field more JSON than CRUX_JSON_MAX */
  CRUX_NOT_LOOPBACK,  /* an http:// URL of another machine */
  CRUX_BAD_FILE,      /* `number` is its errno */
  CRUX_ENCRYPTED_KEY,
  CRUX_BAD_HEADER,    /* `number` is a crux_headers_problem */
  CRUX_ALONE,         /* an option without `nearest`, which it needs */
  CRUX_TWO_CREDENTIALS, /* a token function, and a user to log in */
  CRUX_NOT_BUILT_IN,  /* this libcurl cannot do it: `number` is its code */
  CRUX_OTHER_API,     /* an endpoint, `nearest`, that the chosen generation of the API lacks */
  CRUX_NO_MEMORY
} crux_problem;

typedef struct {
  crux_problem problem;
  const crux_field *field;  /* what was expected; NULL: the field is unknown */
  crux_field_list lists[CRUX_LISTS_MAX]; /* of an unknown field: the known ones */
  unsigned hidden;          /* flags: see crux_field_list, of the list that `field` is in */
  char path[CRUX_PATH_MAX]; /* of the value; of an unknown field: of the table that has it */
  const char *nearest;      /* the name that is nearest to an unknown one, or NULL */
  int value;                /* stack index of what was found; of an unknown field: of its name */
  int key;                  /* stack index of a wrong header's name; its value is above it */
  int number;               /* what it is depends on the problem */
} crux_invalid;

/* Whether the lists have few enough rows, those of nested tables too. */
bool crux_schema_fits(const crux_field_list *lists);

/* Returns whether the table is valid. If not, `invalid` has an unknown field at any depth; without
   one, the first problem in the order of the rows. With `json`, the first list is of arguments:
   they are written as an object, and crux.null counts as absent in an optional scalar. A base URL
   is parsed into `url`. Runs no Lua. */
bool crux_schema_check(lua_State *L, const crux_snapshot *s, crux_json_writer *json,
                       crux_base_url *url, crux_invalid *invalid);

#endif
