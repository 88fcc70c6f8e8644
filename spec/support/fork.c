/* A Lua module for specs about processes, threads and time. Compiled by spec/support/forks.lua for
   the Lua that runs it. */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#ifdef __has_include
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#endif
#endif
#ifndef CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_START_INSTRUMENTATION (void)0
#define CALLGRIND_STOP_INSTRUMENTATION (void)0
#endif

/* fork() → 0 in the child, its pid in the parent */
static int do_fork(lua_State *L) {
  pid_t pid = fork();
  if (pid < 0) return luaL_error(L, "fork: %s", strerror(errno));
  lua_pushinteger(L, pid);
  return 1;
}

/* waitpid(pid, seconds) → exit status, or nil and the signal that ended it; false if it has not
   ended by then */
static int do_waitpid(lua_State *L) {
  pid_t pid = (pid_t)luaL_checknumber(L, 1);
  double left = luaL_checknumber(L, 2);
  int status;
  for (;;) {
    pid_t found = waitpid(pid, &status, WNOHANG);
    if (found < 0) return luaL_error(L, "waitpid: %s", strerror(errno));
    if (found == pid) break;
    if (left <= 0) {
      lua_pushboolean(L, 0);
      return 1;
    }
    poll(NULL, 0, 1);
    left -= 0.001;
  }
  if (WIFEXITED(status)) {
    lua_pushinteger(L, WEXITSTATUS(status));
    return 1;
  }
  lua_pushnil(L);
  lua_pushinteger(L, WTERMSIG(status));
  return 2;
}

/* _exit(code): runs no atexit handlers, so that a child does not flush its parent's buffers again
   */
static int do_exit(lua_State *L) {
  _exit((int)luaL_checknumber(L, 1));
  return 0;
}

static int do_kill(lua_State *L) {
  lua_pushboolean(L, kill((pid_t)luaL_checknumber(L, 1), (int)luaL_checknumber(L, 2)) == 0);
  return 1;
}

static int do_getpid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

/* readable(fd, seconds) → boolean */
static int readable(lua_State *L) {
  struct pollfd p = { .fd = (int)luaL_checknumber(L, 1), .events = POLLIN };
  lua_pushboolean(L, poll(&p, 1, (int)(luaL_checknumber(L, 2) * 1e3)) == 1 && p.revents == POLLIN);
  return 1;
}

enum { DESCRIPTORS = 4096 }; /* more than any spec opens */

/* descriptors() → how many this process has open. Without opening one for it: its number may be one
   that another thread has just closed, which ThreadSanitizer takes for a race. */
static int descriptors(lua_State *L) {
  int fd, count = 0;
  for (fd = 0; fd < DESCRIPTORS; fd++) count += fcntl(fd, F_GETFD) != -1;
  lua_pushinteger(L, count);
  return 1;
}

/* closefrom(number): as a daemon does, whoever opened them. */
static int closefrom_number(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  for (; fd < DESCRIPTORS; fd++) close(fd);
  return 0;
}

static lua_State *kept;

static void close_kept(void) { lua_close(kept); }

/* close_at_exit(source): runs it in a state of its own, which an exit handler closes. That handler
   is registered before the source loads anything, so it runs after the handlers of what is loaded.
   */
static int close_at_exit(lua_State *L) {
  const char *source = luaL_checkstring(L, 1);
  if (kept || atexit(close_kept) != 0) return luaL_error(L, "expected to be called once");
  kept = luaL_newstate();
  luaL_openlibs(kept);
  if (luaL_dostring(kept, source)) return luaL_error(L, "%s", lua_tostring(kept, -1));
  return 0;
}

/* connected(port) → how many connections to that port of 127.0.0.1 this process has open */
static int connected(lua_State *L) {
  int port = (int)luaL_checkinteger(L, 1), fd, count = 0;
  for (fd = 0; fd < DESCRIPTORS; fd++) {
    struct sockaddr_in peer = { .sin_family = AF_UNSPEC };
    socklen_t size = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET && ntohs(peer.sin_port) == port)
      count++;
  }
  lua_pushinteger(L, count);
  return 1;
}

/* cpu() → seconds of processor time of all threads so far */
static int cpu(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec / 1e9);
  return 1;
}

/* held() → seconds of processor time of this thread so far, and how often it has gone to sleep;
   preemption counts for neither */
static int held(lua_State *L) {
  struct timespec t;
  struct rusage usage;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
#ifdef RUSAGE_THREAD
  getrusage(RUSAGE_THREAD, &usage);
#else
  getrusage(RUSAGE_SELF, &usage);
#endif
  lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec / 1e9);
  lua_pushnumber(L, (lua_Number)usage.ru_nvcsw);
  return 2;
}

/* measured(f): calls it. With --instr-atstart=no, callgrind counts what happens inside alone, in
   all threads. Without valgrind's headers it is a plain call. */
static int measured(lua_State *L) {
  CALLGRIND_START_INSTRUMENTATION;
  lua_call(L, 0, 0);
  CALLGRIND_STOP_INSTRUMENTATION;
  return 0;
}

/* --- Lua states in threads --- */

typedef struct {
  pthread_t id;
  int started;
  char *source, *why;
} thread;

static void *run(void *p) {
  thread *t = p;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  if (luaL_loadstring(L, t->source) || lua_pcall(L, 0, 0, 0)) t->why = strdup(lua_tostring(L, -1));
  lua_close(L);
  return NULL;
}

/* thread(source) → thread; it runs the chunk in a Lua state that is closed at its end */
static int start_thread(lua_State *L) {
  const char *source = luaL_checkstring(L, 1);
  thread *t = lua_newuserdata(L, sizeof *t);
  memset(t, 0, sizeof *t);
  luaL_getmetatable(L, "spec.thread");
  lua_setmetatable(L, -2);
  t->source = strdup(source);
  t->started = pthread_create(&t->id, NULL, run, t) == 0;
  if (!t->started) return luaL_error(L, "no thread");
  return 1;
}

/* thread:join() → nil, or what it raised */
static int join_thread(lua_State *L) {
  thread *t = luaL_checkudata(L, 1, "spec.thread");
  if (t->started) pthread_join(t->id, NULL);
  t->started = 0;
  lua_pushstring(L, t->why);
  free(t->source);
  free(t->why);
  t->source = t->why = NULL;
  return 1;
}

int luaopen_fork(lua_State *L);

int luaopen_fork(lua_State *L) {
  static const struct { const char *name; lua_CFunction f; } functions[] = {
    { "fork", do_fork }, { "waitpid", do_waitpid }, { "_exit", do_exit }, { "kill", do_kill }, { "getpid", do_getpid },
    { "readable", readable }, { "descriptors", descriptors }, { "connected", connected }, { "cpu", cpu }, { "held", held },
    { "measured", measured }, { "closefrom", closefrom_number }, { "close_at_exit", close_at_exit },
    { "thread", start_thread },
  };
  size_t i;
  luaL_newmetatable(L, "spec.thread");
  lua_pushcfunction(L, join_thread);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  lua_pushcfunction(L, join_thread);
  lua_setfield(L, -2, "join");
  lua_setfield(L, -2, "__index");
  lua_newtable(L);
  for (i = 0; i < sizeof functions / sizeof *functions; i++) {
    lua_pushcfunction(L, functions[i].f);
    lua_setfield(L, -2, functions[i].name);
  }
  return 1;
}
