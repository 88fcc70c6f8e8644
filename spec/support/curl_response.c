/* A Lua module: what libcurl's own HTTP parser makes of a connection's bytes. Compiled by
   spec/support/forks.lua for the Lua that runs it. */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

typedef struct {
  CURL *curl;
  long status; /* of the final head, once that is whole; else 0 */
  char body[1 << 16];
  size_t body_len, max_body;
  CURLcode code;
} answer;

static size_t on_header(char *data, size_t size, size_t count, void *p) {
  answer *a = p;
  long status = 0;
  curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status);
  if ((data[0] == '\r' || data[0] == '\n') && (status >= 200 || status == 101)) a->status = status;
  return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *p) {
  answer *a = p;
  size_t len = size * count, taken = len;
  if (taken > a->max_body - a->body_len) taken = a->max_body - a->body_len;
  memcpy(a->body + a->body_len, data, taken);
  a->body_len += taken;
  return taken;
}

static int open_listener(char *url, size_t size) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), room = 1 << 18;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 1) != 0) return -1;
  getsockname(fd, (struct sockaddr *)&address, &len);
  snprintf(url, size, "http://127.0.0.1:%d/", ntohs(address.sin_port));
  return fd;
}

static CURL *open_easy(answer *a, const char *url) {
  CURL *curl = curl_easy_init();
  curl_easy_setopt(curl, CURLOPT_URL, url);
  curl_easy_setopt(curl, CURLOPT_PROXY, "");
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, 10L);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, a);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, a);
  return curl;
}

/* The server is in the same thread: it accepts, writes everything and half-closes before libcurl
   continues. */
static bool perform(CURLM *multi, int listener, const char *data, size_t len) {
  int running = 1, fd = -1;
  bool is_written = false;
  while (running) {
    curl_multi_perform(multi, &running);
    if (fd < 0 && (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
      is_written = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
      shutdown(fd, SHUT_WR);
    }
    if (running) curl_multi_wait(multi, NULL, 0, 10, NULL);
  }
  if (fd >= 0) close(fd);
  return is_written;
}

static bool ask(answer *a, const char *data, size_t len) {
  char url[64];
  int listener = open_listener(url, sizeof url), left;
  CURLM *multi = curl_multi_init();
  bool is_written;
  CURLMsg *message;
  a->curl = open_easy(a, url);
  curl_multi_add_handle(multi, a->curl);
  is_written = perform(multi, listener, data, len);
  message = curl_multi_info_read(multi, &left);
  a->code = message ? message->data.result : CURLE_FAILED_INIT;
  curl_multi_remove_handle(multi, a->curl);
  curl_easy_cleanup(a->curl);
  curl_multi_cleanup(multi);
  close(listener);
  return is_written;
}

/* parse(bytes, max_body) → { status, body, whole, code }; no status: libcurl refused the head */
static int parse(lua_State *L) {
  static answer a;
  size_t len;
  const char *data = luaL_checklstring(L, 1, &len);
  a = (answer){.max_body = (size_t)luaL_checknumber(L, 2)};
  if (!ask(&a, data, len)) return luaL_error(L, "expected a server to answer libcurl");
  lua_newtable(L);
  lua_pushlstring(L, a.body, a.body_len);
  lua_setfield(L, -2, "body");
  lua_pushboolean(L, a.code == CURLE_OK);
  lua_setfield(L, -2, "whole");
  lua_pushstring(L, curl_easy_strerror(a.code));
  lua_setfield(L, -2, "code");
  if (a.status == 0) return 1;
  lua_pushnumber(L, (lua_Number)a.status);
  lua_setfield(L, -2, "status");
  return 1;
}

int luaopen_curl_response(lua_State *L);

int luaopen_curl_response(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, parse);
  lua_setfield(L, -2, "parse");
  lua_pushfstring(L, "libcurl/%s", curl_version_info(CURLVERSION_NOW)->version);
  lua_setfield(L, -2, "version");
  return 1;
}
