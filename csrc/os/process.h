/* process: what crux shares with the rest of the process: exit(), fork(), SIGPIPE and the clock. */
#ifndef CRUX_PROCESS_H
#define CRUX_PROCESS_H

#include <signal.h>
#include <stdbool.h>

/* Registers the exit and fork handlers. Call it once per process. False if that failed. */
bool crux_process_init(void);

/* Takes and releases the process-wide read lock. Every call of libcurl is inside it, and so is
   every lock that another thread of crux may hold. exit() and fork() take it for writing, so they
   wait until no thread is inside. Not recursive. False once exit() has begun: do not call libcurl,
   and leak what you hold. */
bool crux_process_enter(void);
void crux_process_leave(void);

/* Takes the lock even if exit() has begun: for code that does not call libcurl. */
void crux_process_enter_at_exit(void);

/* True once exit() has begun. */
bool crux_process_is_exiting(void);

/* Sets the one function that the exit handler calls, when no thread is inside libcurl any more and
   before OpenSSL is torn down. */
void crux_process_at_exit(void (*function)(void));

/* Counts forks. What was made under another number belongs to the parent: do not use it. */
unsigned crux_process_generation(void);

/* Blocks SIGPIPE on this thread; `_restore` also discards a SIGPIPE that was raised in between.
   With CURLOPT_NOSIGNAL libcurl does neither. */
typedef struct {
  sigset_t before;  /* the thread's signal mask */
  bool is_blocked;  /* the engine's: crux_sigpipe_block was called */
  bool was_pending; /* a SIGPIPE that is not ours to discard */
} crux_sigpipe;
void crux_sigpipe_block(crux_sigpipe *s);
void crux_sigpipe_restore(crux_sigpipe *s);

/* Seconds of the monotonic clock. */
double crux_now(void);

#endif
