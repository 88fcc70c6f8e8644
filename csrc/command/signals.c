/* signals: see signals.h. */
#include "signals.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* The first asks for an end, and the second for one at once; whoever sends a third has waited. */
#define CRUX_OS_LAST_SIGNAL 3

static const struct {
  int number;
  const char *name;
} caught[] = { { SIGINT, "SIGINT" }, { SIGTERM, "SIGTERM" }, { SIGHUP, "SIGHUP" } };

#define CAUGHT (sizeof caught / sizeof *caught)

static volatile sig_atomic_t count, first;

static void on_signal(int number) {
  if (count == 0) first = number;
  count = count + 1;
  if (count >= CRUX_OS_LAST_SIGNAL) _exit(128 + number);
}

/***
Counts SIGINT, SIGTERM and SIGHUP from now on, instead of dying from them; the third ends the
process at once, with 128 and its number. One that is ignored, as by `nohup`, stays ignored. SIGPIPE
is ignored. A system call that waits returns when a signal comes.
@function catch_signals
*/
int crux_os_catch_signals(lua_State *L) {
  struct sigaction action, before;
  size_t i;
  (void)L;
  memset(&action, 0, sizeof action);
  sigemptyset(&action.sa_mask);
  action.sa_handler = on_signal; /* without SA_RESTART */
  for (i = 0; i < CAUGHT; i++) {
    if (sigaction(caught[i].number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
      sigaction(caught[i].number, &action, NULL);
  }
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, NULL);
  return 0;
}

/***
Returns how many signals have come since `catch_signals`.
@function signals
@treturn number
@treturn ?string name of the first: `"SIGINT"`, `"SIGTERM"` or `"SIGHUP"`
@treturn ?number its number
*/
int crux_os_signals(lua_State *L) {
  size_t i;
  lua_pushinteger(L, count);
  for (i = 0; i < CAUGHT; i++) {
    if (count == 0 || caught[i].number != first) continue;
    lua_pushstring(L, caught[i].name);
    lua_pushinteger(L, first);
    return 3;
  }
  return 1;
}
