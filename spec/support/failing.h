/* Makes one call of core.so fail: see failing.c. */
#ifndef FAILING_H
#define FAILING_H

/* From now on calls are counted and the nth fails; 0 only counts. */
void failing_start(long n);

/* How many calls there were; *name is the one that failed, or NULL. */
long failing_stop(const char **name);

#endif
