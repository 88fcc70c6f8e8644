/* api: the CRUXconnect API as constant rows: endpoints, their fields, and the options of a client.
   A further endpoint is one row and its field list. Knows nothing of Lua or curl. */
#ifndef CRUX_API_H
#define CRUX_API_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef enum {
  /* of arguments: how each is written as JSON */
  CRUX_TYPE_UUID,      /* 8-4-4-4-12 hex digits, as given */
  CRUX_TYPE_TEXT,      /* non-empty UTF-8, at most `high` bytes */
  CRUX_TYPE_WHOLE,     /* `low` to `high`, or such a number as a string of digits */
  CRUX_TYPE_DECIMAL,   /* 0 to 99999999.99, as a string with two decimals */
  CRUX_TYPE_BOOLEAN,
  CRUX_TYPE_DATE,      /* "2018-08-03 06:00:00", "2018-08-03T06:00:00.000Z", as given */
  CRUX_TYPE_ENUM,      /* one of `choices` */
  CRUX_TYPE_OBJECT,    /* a table with `fields` */
  CRUX_TYPE_LIST,      /* `low` to `high` items, each as the row in `fields` says */
  /* of options */
  CRUX_TYPE_TOKEN,     /* printable ASCII; in the Lua layer also a function */
  CRUX_TYPE_BASE_URL,
  CRUX_TYPE_SECONDS,   /* more than 0, at most `high` */
  CRUX_TYPE_DURATION,  /* seconds, 0 to `high` */
  CRUX_TYPE_FILE,      /* the path of a readable file */
  CRUX_TYPE_KEY_FILE,  /* the same; a private key in it is not encrypted */
  CRUX_TYPE_DIRECTORY, /* the path of a readable directory */
  CRUX_TYPE_STRING,    /* any without a NUL */
  CRUX_TYPE_PROXY,     /* a proxy's URL, or "" */
  CRUX_TYPE_PRODUCT,   /* RFC 9110 10.1.5: product */
  CRUX_TYPE_HEADERS,   /* a table of names and values of request headers */
  CRUX_TYPE_CACHE,     /* a table or userdata */
  CRUX_TYPE_FUNCTION,
  CRUX_TYPE_TABLE,
  CRUX_TYPE_RATE,      /* a positive, finite number */
  CRUX_TYPE_LIMIT,     /* a whole number from `low` to `high`, or false */
  CRUX_TYPE_STOP_SET   /* a set of error kinds and HTTP statuses, or a function */
} crux_type;

enum {
  CRUX_REQUIRED = 1,
  CRUX_SECRET = 2,  /* the value is never shown */
  CRUX_IN_PATH = 4, /* in the URL and not in the body: UUIDs only */
  CRUX_LUA_ONLY = 8 /* known to the Lua layer alone */
};

typedef struct crux_field {
  const char *name;                /* NULL ends a list */
  crux_type type;
  unsigned flags;
  double low, high;                /* a `high` of 0: no limit */
  const char *const *choices;      /* of an ENUM: NULL ends them */
  const struct crux_field *fields; /* of an OBJECT: its fields; of a LIST: one row, for each item */
} crux_field;

typedef struct {
  int status; /* 0 ends a list */
  const char *hint;
} crux_hint;

/* The generations of the API, as bits. */
enum { CRUX_V1 = 1, CRUX_TIMP = 2 };

typedef struct {
  const char *name;   /* as the option `api` has it; NULL ends the list */
  unsigned bit;
  const char *prefix; /* in front of each path */
} crux_generation;

typedef struct {
  const char *name;         /* as Lua calls it; NULL ends the list */
  const char *method;
  const char *path;         /* below the prefix; "{name}" stands for the field of that name */
  const crux_field *fields; /* in the order in which problems are reported and JSON is written */
  unsigned generations;     /* those that have it */
  bool has_body;
  bool safe;                /* RFC 9110 9.2.1: it changes nothing at the server */
  bool authenticated;       /* it needs a token */
  const char *look;         /* the call that shows what became of an unknown one, or NULL */
  const crux_hint *hints;   /* what to do about a status, beyond crux_hints; NULL for none */
} crux_endpoint;

typedef struct {
  int status; /* 0 ends the list */
  const char *name;
} crux_status;

extern const crux_endpoint crux_endpoints[];
extern const crux_generation crux_generations[];
extern const crux_field crux_client_options[]; /* in the order in which problems are reported */
extern const crux_field crux_batch_options[];
extern const crux_hint crux_hints[];      /* true of every endpoint */
extern const crux_status crux_statuses[]; /* by the names that the service gives them */

static inline const crux_endpoint *crux_endpoint_find(const char *name) {
  const crux_endpoint *endpoint = crux_endpoints;
  while (endpoint->name && strcmp(endpoint->name, name) != 0) endpoint++;
  return endpoint->name ? endpoint : NULL;
}

/* What to do about a status, by the endpoint's own hints or those of all; NULL if nothing is
   known. */
static inline const char *crux_status_hint(const crux_hint *hints, int status) {
  for (; hints && hints->status; hints++) {
    if (hints->status == status) return hints->hint;
  }
  for (hints = crux_hints; hints->status; hints++) {
    if (hints->status == status) return hints->hint;
  }
  return NULL;
}

/* "" for a status without a name. */
static inline const char *crux_status_name(int status) {
  const crux_status *row = crux_statuses;
  while (row->status && row->status != status) row++;
  return row->status ? row->name : "";
}

#endif
