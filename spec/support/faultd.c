/* Functions for the fault server that lua-cqueues lacks: a reset, a backlog of a given length,
   several writes in one segment, close_notify, and the file name under which OpenSSL looks for an
   authority in a directory. Compiled by faultd.lua when it starts; libssl's
   functions are looked up in the copy that lua-luaossl has already loaded, so that its headers need
   not be installed. */
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <lauxlib.h>
#include <lua.h>

static void *libssl(lua_State *L, int index, const char *name) {
  void *handle = dlopen(luaL_checkstring(L, index), RTLD_NOW);
  void *symbol = handle ? dlsym(handle, name) : NULL;
  if (!symbol) luaL_error(L, "expected %s in libssl, found none", name);
  return symbol;
}

/* From now on close() sends RST instead of FIN. */
static int reset_on_close(lua_State *L) {
  struct linger linger = {1, 0};
  int fd = (int)luaL_checkinteger(L, 1);
  lua_pushboolean(L, setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
  return 1;
}

static int set_backlog(lua_State *L) {
  lua_pushboolean(L, listen((int)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2)) == 0);
  return 1;
}

/* cork(fd, on): TCP_CORK. Written bytes are kept until it is off or the socket is closed; on Linux
   for 200 ms at most. */
static int cork(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1), on = lua_toboolean(L, 2);
  lua_pushboolean(L, setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on) == 0);
  return 1;
}

/* close_notify(libssl, ssl): sends the alert, does not wait for the peer's. */
static int close_notify(lua_State *L) {
  int (*ssl_shutdown)(void *) = (int (*)(void *))libssl(L, 1, "SSL_shutdown");
  void **ssl = luaL_checkudata(L, 2, "SSL*");
  lua_pushinteger(L, ssl_shutdown(*ssl));
  return 1;
}

static int subject_hash(lua_State *L) {
  unsigned long (*hash)(void *) = (unsigned long (*)(void *))libssl(L, 1, "X509_subject_name_hash");
  void **cert = luaL_checkudata(L, 2, "X509*");
  lua_pushinteger(L, (lua_Integer)hash(*cert));
  return 1;
}

/* Connections that are accepted have it too, if it is set before. */
static int set_receive_buffer(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1), size = (int)luaL_checkinteger(L, 2);
  lua_pushboolean(L, setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == 0);
  return 1;
}

int luaopen_faultd(lua_State *L) {
  static const luaL_Reg functions[] = {{"reset_on_close", reset_on_close},
                                       {"set_backlog", set_backlog},
                                       {"cork", cork},
                                       {"close_notify", close_notify},
                                       {"subject_hash", subject_hash},
                                       {"set_receive_buffer", set_receive_buffer},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
