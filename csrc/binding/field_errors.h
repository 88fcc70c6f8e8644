/* field_errors: the server's validation errors, in the shapes that servers and proxies send. */
#ifndef CRUX_BINDING_FIELD_ERRORS_H
#define CRUX_BINDING_FIELD_ERRORS_H

#include "state.h"

/* With the error on top: `detail` and `fields` out of its body; `whole`: it is not cut off. */
void crux_set_field_errors(lua_State *L, bool whole);
/* Pushes one of the error's `fields` for its message, the first in alphabetical order, so that
   it is the same each time; or nothing and returns false. */
bool crux_push_first_field_error(lua_State *L, int err);

#endif
