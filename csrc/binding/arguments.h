/* arguments: a call's arguments, held against the endpoint's fields. */
#ifndef CRUX_BINDING_ARGUMENTS_H
#define CRUX_BINDING_ARGUMENTS_H

#include "state.h"
#include "../api.h"

/* What checking the arguments found out about them. */
typedef struct {
  int arguments;     /* all of them, a table */
  const char *token; /* the client's */
  size_t text;       /* bytes of it so far */
  bool foreign;      /* a table has a key that is none of its fields: an option, or a fault */
  bool convert;      /* a value is not yet what is sent for it, or a table more than its raw fields */
} crux_checked;

/* 0; or nil and err pushed, and their number returned. */
int crux_check_arguments(lua_State *L, const crux_field *fields, crux_checked *c);
/* The same as crux_push_unknown for what lists among the arguments hold. */
bool crux_push_unknown_within(lua_State *L, int index, const crux_field *fields, const char *token);
/* Pushes a table of what is sent for arguments without a fault. */
void crux_push_sent(lua_State *L, const crux_field *fields, const crux_checked *c);

#endif
