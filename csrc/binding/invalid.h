/* invalid: makes the error for wrong arguments or options, and decides which values it may show. */
#ifndef CRUX_BINDING_INVALID_H
#define CRUX_BINDING_INVALID_H

#include "schema.h"

/* Pushes the error. A value is shown only where it can be no secret: never the token, nor a string
   that is long, nor what stands in a field for secrets. `token` may be NULL. */
void crux_push_invalid(lua_State *L, const crux_invalid *invalid, const char *token);
/* Pushes nil and such an error, and returns their number. */
int crux_fail_invalid(lua_State *L, const crux_invalid *invalid, const char *token);

#endif
