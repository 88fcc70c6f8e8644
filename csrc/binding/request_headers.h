/* request_headers: the option `headers` as field lines. */
#ifndef CRUX_BINDING_REQUEST_HEADERS_H
#define CRUX_BINDING_REQUEST_HEADERS_H

#include "compat.h"

#include <stdbool.h>

enum { CRUX_HEADERS_MAX = 8192 };

typedef enum {
  CRUX_HEADERS_OK,
  CRUX_HEADERS_NO_TABLE,
  CRUX_HEADERS_NAME,     /* a name that is no token, or reserved */
  CRUX_HEADERS_VALUE,
  CRUX_HEADERS_TWICE,    /* the same name in other letters */
  CRUX_HEADERS_TOO_LONG
} crux_headers_problem;

/* Lines, each with its CRLF, and a NUL. */
typedef struct {
  size_t len;
  char text[CRUX_HEADERS_MAX + 1];
} crux_header_lines;

void crux_header_lines_clear(crux_header_lines *lines);
/* Overwrites the lines, since values may be secrets. */
void crux_header_lines_wipe(crux_header_lines *lines);
/* Add the lines of the table at an index, or other lines, except those whose names are there. A
   name that is wrong, or whose value is wrong, is left on the stack, and the value on top of it.
   Neither runs Lua nor allocates. */
crux_headers_problem crux_header_lines_add_table(crux_header_lines *lines, lua_State *L, int index);
crux_headers_problem crux_header_lines_add(crux_header_lines *lines, const char *more);
/* What is wrong with the table alone. */
crux_headers_problem crux_check_headers(lua_State *L, int index);

#endif
