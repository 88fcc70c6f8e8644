/* request_headers: the option `headers` as field lines. */
#ifndef CRUX_BINDING_REQUEST_HEADERS_H
#define CRUX_BINDING_REQUEST_HEADERS_H

#include "compat.h"

#include <stdbool.h>

enum { CRUX_HEADERS_MAX = 8192 };

/* Writes the table at an index as field lines, each with its CRLF, and after them those of `base`
   (NULL: none) with other names; `lines` has room for CRUX_HEADERS_MAX bytes and a NUL. False: it
   is no table of allowed names and values, or they are too long. Neither runs Lua nor allocates. */
bool crux_read_headers(lua_State *L, int index, const char *base, char *lines);

#endif
