/* foreign_names: what other libraries call crux's options, so that a message can name ours. */
#ifndef CRUX_BINDING_FOREIGN_NAMES_H
#define CRUX_BINDING_FOREIGN_NAMES_H

typedef struct {
  const char *name;
  const char *ours; /* the option to use or, with `not`, the one nearest to it */
  const char *why;  /* what has to be known to use it, or NULL */
  const char *not;  /* why there is no such option, or NULL if there is one */
} crux_foreign_name;

/* What an option of other libraries is to us, or NULL if it is none. */
const crux_foreign_name *crux_find_foreign_name(const char *name);

#endif
