/* process: what crux shares with the rest of the process, and how it stays out of the way of
   exit and fork. */
#ifndef CRUX_PROCESS_H
#define CRUX_PROCESS_H

#include <signal.h>
#include <stdbool.h>

/* Once per process: the exit and fork handlers. False if they could not be registered. */
bool crux_process_init(void);

/* Takes the process-wide read lock: around every stay inside libcurl, and around every lock that
   another thread of crux may hold. exit() and fork() wait until nobody holds it. Not recursive.
   False once exit() has begun: do not call libcurl, and leak what you hold. */
bool crux_process_enter(void);
void crux_process_leave(void);

/* The same for a stay outside libcurl, which goes on while the process ends. */
void crux_process_enter_at_exit(void);

/* exit() has begun. */
bool crux_process_is_exiting(void);

/* One function to be called when the process ends, once nobody is inside libcurl and before OpenSSL
   is torn down. */
void crux_process_at_exit(void (*function)(void));

/* Counts forks: what was made under another number belongs to the parent, and must be abandoned. */
unsigned crux_process_generation(void);

/* Blocks SIGPIPE on this thread, and takes away one that was raised meanwhile. With
   CURLOPT_NOSIGNAL libcurl does not do so itself. */
typedef struct {
  sigset_t before;
  bool is_blocked; /* by crux_sigpipe_block */
  bool was_pending;
} crux_sigpipe;
void crux_sigpipe_block(crux_sigpipe *s);
void crux_sigpipe_restore(crux_sigpipe *s);

/* Monotonic seconds. */
double crux_now(void);

#endif
