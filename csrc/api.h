/* api: what can be called, as data. A further endpoint is one row and its field list;
   nothing in the pipeline may ask which endpoint it carries. Knows nothing of Lua or curl. */
#ifndef CRUX_API_H
#define CRUX_API_H

#include <stdbool.h>

typedef enum {
  CRUX_FIELD_UUID,    /* 8-4-4-4-12 hex digits, sent as given */
  CRUX_FIELD_TEXT,    /* non-empty UTF-8 */
  CRUX_FIELD_WHOLE,   /* 1 to 2^31-1 */
  CRUX_FIELD_DECIMAL, /* 0 to 99999999.99, sent as a string with two decimals */
  CRUX_FIELD_LIST     /* at least one object made of `fields` */
} crux_field_type;

typedef struct crux_field {
  const char *name; /* NULL ends a list */
  crux_field_type type;
  bool required;
  const struct crux_field *fields; /* of each item of a LIST */
} crux_field;

typedef struct {
  const char *name;         /* as Lua calls it; NULL ends the list */
  const char *method;
  const char *path;         /* below the API's prefix; `*` stands for the first field, which then is not in the body */
  const crux_field *fields; /* in the order in which faults are reported */
  bool has_body;
  bool safe;                /* changes nothing at the server, so an unknown outcome may be tried again */
} crux_endpoint;

extern const crux_endpoint crux_endpoints[];

const crux_endpoint *crux_endpoint_find(const char *name);

#endif
