/* os: the functions of the module crux.os, which is for the command alone: the library never loads
   it. It has what Lua lacks: durable files, locks, the terminal, signals as a count. */
#include "../binding/compat.h"
#include "file.h"
#include "signals.h"
#include "status.h"
#include "terminal.h"

#if defined(__GNUC__)
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif

EXPORT int luaopen_crux_os(lua_State *L);

EXPORT int luaopen_crux_os(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "open", crux_os_open },
    { "stat", crux_os_stat },
    { "mkdir", crux_os_mkdir },
    { "sync_directory", crux_os_sync_directory },
    { "isatty", crux_os_isatty },
    { "width", crux_os_width },
    { "prompt", crux_os_prompt },
    { "catch_signals", crux_os_catch_signals },
    { "signals", crux_os_signals },
    { NULL, NULL },
  };
  crux_checkversion(L, "crux.os");
  crux_os_file_setup(L);
  lua_newtable(L);
  crux_setfuncs(L, functions, 0);
  return 1;
}
