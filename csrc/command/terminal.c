/* terminal: see terminal.h. */
#include "terminal.h"

#include "../binding/compat.h"
#include "failure.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <termios.h>
#include <unistd.h>

/***
Returns whether a descriptor is a terminal.
@function isatty
@tparam number fd 0, 1 or 2
@treturn boolean
*/
int crux_os_isatty(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

/***
Returns the width of a terminal.
@function width
@tparam number fd
@treturn ?number columns; nil if it is no terminal, or does not know
*/
int crux_os_width(lua_State *L) {
  struct winsize size;
  if (ioctl((int)luaL_checkinteger(L, 1), TIOCGWINSZ, &size) < 0 || size.ws_col == 0) return 0;
  lua_pushinteger(L, size.ws_col);
  return 1;
}

/* --- the prompt --- */

#define ANSWER_MAX 1024

/* Signals that would end or stop the process: the echo is restored first. */
static const int held[] = { SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGALRM,
                            SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE };

#define HELD (sizeof held / sizeof *held)

static volatile sig_atomic_t has_come[HELD];

static void note(int number) {
  size_t i;
  for (i = 0; i < HELD; i++) {
    if (held[i] == number) has_come[i] = 1;
  }
}

typedef struct {
  struct sigaction handlers[HELD];
  sigset_t mask;
} crux_os_signals_before;

/* Blocks them, but while the answer is waited for. One that is ignored stays ignored. */
static void hold_signals(crux_os_signals_before *before) {
  struct sigaction action;
  sigset_t blocked;
  size_t i;
  memset(&action, 0, sizeof action);
  sigemptyset(&action.sa_mask);
  sigemptyset(&blocked);
  action.sa_handler = note;
  for (i = 0; i < HELD; i++) {
    has_come[i] = 0;
    sigaddset(&blocked, held[i]);
  }
  sigprocmask(SIG_BLOCK, &blocked, &before->mask);
  for (i = 0; i < HELD; i++) {
    sigaction(held[i], NULL, &before->handlers[i]);
    if (before->handlers[i].sa_handler != SIG_IGN) sigaction(held[i], &action, NULL);
  }
}

/* Also raises those that have come, for the handlers that were there before. Returns whether one
   was for stopping the process, which goes on now. */
static bool release_signals(const crux_os_signals_before *before) {
  bool was_stopped = false;
  size_t i;
  for (i = 0; i < HELD; i++) {
    sigaction(held[i], &before->handlers[i], NULL);
    if (!has_come[i]) continue;
    kill(getpid(), held[i]);
    if (held[i] == SIGTSTP || held[i] == SIGTTIN || held[i] == SIGTTOU) was_stopped = true;
  }
  sigprocmask(SIG_SETMASK, &before->mask, NULL);
  return was_stopped;
}

static bool any_has_come(void) {
  size_t i;
  for (i = 0; i < HELD; i++) {
    if (has_come[i]) return true;
  }
  return false;
}

/* Waits for input, or for a signal, which comes here or before. */
static bool wait_readable(int fd, const sigset_t *mask) {
  fd_set readable;
  FD_ZERO(&readable);
  FD_SET(fd, &readable);
  return pselect(fd + 1, &readable, NULL, NULL, NULL, mask) == 1 && !any_has_come();
}

/* Reads up to the end of the line; what does not fit is dropped. Returns the length; -1: failed, or
   a signal came, or nothing was there. */
static int read_line(int fd, const sigset_t *mask, char *answer) {
  int length = 0;
  char c;
  while (wait_readable(fd, mask)) {
    ssize_t count = read(fd, &c, 1);
    if (count < 0 || (count == 0 && length == 0)) return -1;
    if (count == 0 || c == '\n' || c == '\r') return length;
    if (length < ANSWER_MAX) answer[length++] = c;
  }
  return -1;
}

/* Writes all of it, or gives up. */
static void say(int fd, const char *text, size_t length) {
  while (length > 0) {
    ssize_t count = write(fd, text, length);
    if (count < 0) return;
    text += count;
    length -= (size_t)count;
  }
}

/* One question. Returns as read_line; `errno` tells the failure, 0 the end of the input. */
static int ask(int fd, const char *text, bool with_echo, char *answer, bool *was_stopped) {
  crux_os_signals_before signals;
  struct termios before, quiet;
  int length, number;
  bool has_echo;
  hold_signals(&signals);
  has_echo = tcgetattr(fd, &before) == 0 && (before.c_lflag & ECHO);
  if (has_echo && !with_echo) {
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    tcsetattr(fd, TCSAFLUSH, &quiet);
  }
  say(fd, text, strlen(text));
  errno = 0;
  length = read_line(fd, &signals.mask, answer);
  number = errno;
  if (has_echo && !with_echo) {
    say(fd, "\n", 1); /* the user's own did not show */
    tcsetattr(fd, TCSAFLUSH, &before);
  }
  *was_stopped = release_signals(&signals);
  errno = number;
  return length;
}

/***
Asks a question at the terminal of the process (`/dev/tty`), whatever stdin and stdout are. The echo
is restored before the function returns, and before the process is ended or stopped by a signal.
@function prompt
@tparam string text the question
@tparam[opt] boolean echo whether what is typed shows
@treturn[1] string the answer, without the end of the line
@treturn[2] nil
@treturn[2] string message
@treturn[2] string name of the error: `"EINTR"`: a signal came; `"ENXIO"` or `"ENOENT"`: there is no
  terminal; `"EOF"`: the input ended
*/
int crux_os_prompt(lua_State *L) {
  const char *text = luaL_checkstring(L, 1);
  bool with_echo = lua_toboolean(L, 2), was_stopped;
  char answer[ANSWER_MAX];
  volatile char *secret = answer;
  int length, number, i, fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd >= FD_SETSIZE) {
    close(fd);
    return crux_os_failure(L, "/dev/tty", EMFILE);
  }
  if (fd < 0) return crux_os_failure(L, "/dev/tty", errno);
  do length = ask(fd, text, with_echo, answer, &was_stopped);
  while (length < 0 && was_stopped);
  number = errno;
  close(fd);
  if (length >= 0) {
    lua_pushlstring(L, answer, (size_t)length);
    for (i = 0; i < length; i++) secret[i] = 0;
    return 1;
  }
  if (number != 0) return crux_os_failure(L, "/dev/tty", number);
  lua_pushnil(L);
  lua_pushliteral(L, "/dev/tty: the input ended");
  lua_pushliteral(L, "EOF");
  return 3;
}
