/* headers: the header fields of a response, as a table. */
#ifndef CRUX_BINDING_HEADERS_H
#define CRUX_BINDING_HEADERS_H

#include "state.h"
#include "../http/response.h"

/* Fills the names of common fields into the state table, on top. */
void crux_headers_setup(lua_State *L);
/* Pushes a table: lower-case name → value, with the values of a repeated name joined by ", ". */
void crux_push_headers(lua_State *L, const crux_response *r);
/* The value of the first field of that name, or NULL. */
const char *crux_header(const crux_response *r, const char *name);

#endif
