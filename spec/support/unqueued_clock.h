/* unqueued_clock: included before a C program (cc -include), it has clock_gettime leave out the time
   that the thread waited for a processor, which other processes took. Blocking still counts. */
#ifndef CRUX_UNQUEUED_CLOCK_H
#define CRUX_UNQUEUED_CLOCK_H

#include <stdio.h>
#include <time.h>

static int unqueued_clock(clockid_t clock, struct timespec *t) {
  /* processor time, time in the run queue, time slices */
  FILE *file = fopen("/proc/thread-self/schedstat", "r");
  long long waited = 0, left;
  int failed = clock_gettime(clock, t);
  if (file) {
    if (fscanf(file, "%*d %lld", &waited) != 1) waited = 0;
    fclose(file);
  }
  if (failed) return failed;
  left = (long long)t->tv_sec * 1000000000 + t->tv_nsec - waited;
  t->tv_sec = left / 1000000000;
  t->tv_nsec = left % 1000000000;
  return 0;
}

#define clock_gettime unqueued_clock

#endif
