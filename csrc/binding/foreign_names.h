/* foreign_names: what other libraries call crux's options, so that a message can name ours. */
#ifndef CRUX_BINDING_FOREIGN_NAMES_H
#define CRUX_BINDING_FOREIGN_NAMES_H

#include "state.h"

/* Pushes what to say of an unknown field that is an option in other libraries, or nothing. */
bool crux_push_foreign(lua_State *L, const char *name, bool policy);

#endif
