/* fault: what is said of an argument or option that is not as it should be. */
#ifndef CRUX_BINDING_FAULT_H
#define CRUX_BINDING_FAULT_H

#include "state.h"
#include "../api.h"

/* Pushes "expected <what>, found <the value at index>"; the value itself only if it can hold no
   secret. */
void crux_push_expected(lua_State *L, const char *what, int index, bool echo);
/* The message on top is what is wrong with that name, or index in brackets, of what is at
   `where`: nil and err instead, and their number returned. */
int crux_fault(lua_State *L, const char *where, const char *name);
/* The field that the key at `key` names, or NULL. */
const crux_field *crux_field_at(lua_State *L, int key, const crux_field *fields);
bool crux_has_unknown(lua_State *L, int index, const crux_field *fields, bool options, bool policy);
/* Pushes nil and err and returns true if the table has a key that is neither one of `fields`
   nor, with `options`, an option. `where` is the table's place, "" or as in "skus[3]". */
bool crux_push_unknown(lua_State *L, int index, const char *where, const crux_field *fields, bool options, bool policy,
                       const char *token);
/* How many slips lie between two names. */
int crux_edit_distance(const char *a, const char *b);
/* core.unknown(options, names) → an error if there is a key that is none of the names
   core.invalid(name, what was expected, value) → an error: for options that the Lua layer reads */
int crux_unknown(lua_State *L);
int crux_invalid(lua_State *L);

#endif
