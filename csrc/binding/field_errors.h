/* field_errors: the server's validation errors, in the shapes that servers and proxies send. */
#ifndef CRUX_BINDING_FIELD_ERRORS_H
#define CRUX_BINDING_FIELD_ERRORS_H

#include "state.h"

/* With an error on top whose `body` and `raw` are set: sets its `detail` and `fields` from them.
   `whole`: the body is not cut off. `media_type`: its Content-Type, or NULL. */
void crux_set_field_errors(lua_State *L, bool whole, const char *media_type);
/* Pushes one of the error's `fields` as text for the message: the first in alphabetical order, so
   that the message is the same each time. Pushes nothing and returns false if there is none. */
bool crux_push_first_field_error(lua_State *L, int err);

#endif
