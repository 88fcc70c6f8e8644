/* process: what crux shares with the rest of the process, and how it stays out of the way of exit and fork. */
#ifndef CRUX_PROCESS_H
#define CRUX_PROCESS_H

#include <signal.h>
#include <stdbool.h>

/* Once per process, from any thread: curl's global state, the exit and fork handlers. False if curl could not start. */
bool crux_process_init(void);

/* Around every stay inside libcurl, and around every lock that another thread of crux may hold: exit and fork wait until
   nobody is inside. Never nested. False: the process is ending, stay out and leave what you hold where it is. */
bool crux_process_enter(void);
void crux_process_leave(void);

/* The same for a stay outside libcurl: it goes on while the process ends. */
void crux_process_enter_at_exit(void);

/* One function to be called when the process ends, once nobody is inside and before OpenSSL is torn down. */
void crux_process_at_exit(void (*function)(void));

/* Counts forks: what was made under another number belongs to the parent and must be abandoned, not closed. */
unsigned crux_process_generation(void);

/* curl's run-time version, or the one that `crux_process_assume_curl` lowered it to, for the specs. */
unsigned crux_process_curl_version(void);
void crux_process_assume_curl(unsigned version);

/* curl turns its own guard off with NOSIGNAL: SIGPIPE is blocked on this thread, and one raised meanwhile taken away. */
typedef struct {
  sigset_t before;
  bool was_pending;
} crux_sigpipe;
void crux_sigpipe_block(crux_sigpipe *s);
void crux_sigpipe_restore(crux_sigpipe *s);

/* Monotonic seconds. */
double crux_now(void);

#endif
