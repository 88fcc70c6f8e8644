/* values: whether a text or number is of a type of the API. Knows nothing of Lua. */
#ifndef CRUX_BINDING_VALUES_H
#define CRUX_BINDING_VALUES_H

#include <stdbool.h>
#include <stddef.h>

/* --- of arguments --- */

bool crux_is_uuid(const char *s, size_t len);
/* A date with or without a time, as the documentation of either generation writes them. */
bool crux_is_date(const char *s, size_t len);
/* A string of digits as a number; -1 for anything else. */
double crux_whole_of_text(const char *s, size_t len);
/* A sum from 0 to 99999999.99 in cents; -1 for anything else. */
double crux_cents_of_text(const char *s, size_t len);
double crux_cents_of_number(double value);

/* --- of options; these texts end in a NUL --- */

/* Whether it can stand in the Authorization header. */
bool crux_is_token(const char *s);
/* Whether it has the newline that reading a file leaves. */
bool crux_ends_line(const char *s);
bool crux_is_product(const char *s);
bool crux_is_header_name(const char *s, size_t len);
/* Whether it is a header's name that the caller may set. */
bool crux_is_free_header(const char *s, size_t len);
/* Why a file or directory cannot be used, as errno; 0 if it can. */
int crux_file_error(const char *path, bool is_directory);
bool crux_is_encrypted_key(const char *path);
/* Whether it looks like host[:port][/path], and so is no secret in the wrong place. */
bool crux_is_hostlike(const char *s);

#endif
