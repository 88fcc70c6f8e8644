/* Functions for the fault server's TLS that lua-luaossl lacks: version limits of a context, facts
   about a handshake, and the messages that a server may send after it. Compiled together with
   faultd.c. The functions of libssl, and of the libcrypto beneath it, are looked up in the copies
   that lua-luaossl has already loaded. */
#include <dlfcn.h>

#include <lauxlib.h>
#include <lua.h>

/* of openssl/ssl.h, which need not be installed */
#define CTRL_SET_SESSION_CACHE 44
#define CTRL_SET_MIN_VERSION 123
#define CTRL_SET_MAX_VERSION 124
#define KEY_UPDATE_NOT_REQUESTED 0
#define KEY_UPDATE_REQUESTED 1

typedef long control(void *, int, long, void *);
typedef int of_ssl(void *);
typedef int with_int(void *, int);
typedef int with_size(void *, size_t);
typedef int with_bytes(void *, const void *, unsigned);
typedef size_t get_bytes(void *, void *, size_t);
typedef int write_key(void *, void *, const void *, const void *, int, void *, void *);
typedef void *open_file(const char *, const char *);
typedef const void *cipher(void);

/* The library is the first argument of every function here. */
static void *symbol(lua_State *L, const char *name) {
  void *handle = dlopen(luaL_checkstring(L, 1), RTLD_NOW);
  void *found = handle ? dlsym(handle, name) : NULL;
  if (!found) luaL_error(L, "expected %s in libssl, found none", name);
  return found;
}

/* The second is one of lua-luaossl's objects. */
static void *checked(lua_State *L, const char *type) {
  return *(void **)luaL_checkudata(L, 2, type);
}

static int answer(lua_State *L, int well) {
  lua_pushboolean(L, well);
  return 1;
}

/* limit(libssl, context, least, most): versions as on the wire, 0x0303 for TLS 1.2. */
static int limit(lua_State *L) {
  control *set = (control *)symbol(L, "SSL_CTX_ctrl");
  void *context = checked(L, "SSL_CTX*");
  long least = (long)luaL_checkinteger(L, 3), most = (long)luaL_checkinteger(L, 4);
  return answer(L, set(context, CTRL_SET_MIN_VERSION, least, NULL) == 1 &&
                       set(context, CTRL_SET_MAX_VERSION, most, NULL) == 1);
}

/* name_sessions(libssl, context, name): whose sessions these are. Without a name OpenSSL lets no
   connection resume one where clients are asked for certificates. */
static int name_sessions(lua_State *L) {
  with_bytes *set = (with_bytes *)symbol(L, "SSL_CTX_set_session_id_context");
  size_t length;
  const char *name = luaL_checklstring(L, 3, &length);
  return answer(L, set(checked(L, "SSL_CTX*"), name, (unsigned)length) == 1);
}

/* tickets(libssl, context, count): how many a TLS 1.3 connection is given; 0 turns off the cache of
   sessions, too. */
static int tickets(lua_State *L) {
  with_size *set = (with_size *)symbol(L, "SSL_CTX_set_num_tickets");
  control *cache = (control *)symbol(L, "SSL_CTX_ctrl");
  void *context = checked(L, "SSL_CTX*");
  lua_Integer count = luaL_checkinteger(L, 3);
  if (count == 0) cache(context, CTRL_SET_SESSION_CACHE, 0, NULL);
  return answer(L, set(context, (size_t)count) == 1);
}

/* resumed(libssl, ssl) */
static int resumed(lua_State *L) {
  of_ssl *reused = (of_ssl *)symbol(L, "SSL_session_reused");
  return answer(L, reused(checked(L, "SSL*")));
}

/* peer_finished(libssl, ssl): the client's Finished message of the last handshake, which differs
   from one handshake to the next. */
static int peer_finished(lua_State *L) {
  get_bytes *get = (get_bytes *)symbol(L, "SSL_get_peer_finished");
  char bytes[64];
  size_t length = get(checked(L, "SSL*"), bytes, sizeof bytes);
  lua_pushlstring(L, bytes, length < sizeof bytes ? length : sizeof bytes);
  return 1;
}

/* Sends the pending handshake message, without waiting for a response. */
static int sent(lua_State *L, void *ssl, int asked) {
  of_ssl *handshake = (of_ssl *)symbol(L, "SSL_do_handshake");
  return answer(L, asked == 1 && handshake(ssl) == 1);
}

/* key_update(libssl, ssl, wanted): TLS 1.3; with `wanted` it requests one from the client. */
static int key_update(lua_State *L) {
  with_int *update = (with_int *)symbol(L, "SSL_key_update");
  void *ssl = checked(L, "SSL*");
  int wanted = lua_toboolean(L, 3) ? KEY_UPDATE_REQUESTED : KEY_UPDATE_NOT_REQUESTED;
  return sent(L, ssl, update(ssl, wanted));
}

/* hello_request(libssl, ssl): TLS 1.2. */
static int hello_request(lua_State *L) {
  of_ssl *renegotiate = (of_ssl *)symbol(L, "SSL_renegotiate");
  void *ssl = checked(L, "SSL*");
  return sent(L, ssl, renegotiate(ssl));
}

/* request_certificate(libssl, ssl): TLS 1.3; false if the client has not offered it. */
static int request_certificate(lua_State *L) {
  of_ssl *request = (of_ssl *)symbol(L, "SSL_verify_client_post_handshake");
  void *ssl = checked(L, "SSL*");
  return sent(L, ssl, request(ssl));
}

/* write_encrypted(libssl, key, path, password, old): as PKCS #8, or in the older form that has its
   cipher in a header. */
static int write_encrypted(lua_State *L) {
  int old = lua_toboolean(L, 5), well;
  write_key *write = (write_key *)symbol(L, old ? "PEM_write_bio_PrivateKey_traditional"
                                                : "PEM_write_bio_PKCS8PrivateKey");
  open_file *open = (open_file *)symbol(L, "BIO_new_file");
  of_ssl *close = (of_ssl *)symbol(L, "BIO_free");
  cipher *aes = (cipher *)symbol(L, "EVP_aes_256_cbc");
  void *key = checked(L, "EVP_PKEY*"), *file;
  size_t length;
  const char *path = luaL_checkstring(L, 3), *password = luaL_checklstring(L, 4, &length);
  file = open(path, "w");
  if (!file) return luaL_error(L, "expected to open %s", path);
  well = write(file, key, aes(), password, (int)length, NULL, NULL);
  return answer(L, close(file) == 1 && well == 1);
}

int luaopen_faultd_tls(lua_State *L) {
  static const luaL_Reg functions[] = {{"limit", limit},
                                       {"name_sessions", name_sessions},
                                       {"tickets", tickets},
                                       {"resumed", resumed},
                                       {"peer_finished", peer_finished},
                                       {"key_update", key_update},
                                       {"hello_request", hello_request},
                                       {"request_certificate", request_certificate},
                                       {"write_encrypted", write_encrypted},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
