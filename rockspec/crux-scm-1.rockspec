rockspec_format = "3.0"
package = "crux"
version = "scm-1"

-- Built where it stands: `luarocks make` in the tree.
source = { url = "." }

description = {
  summary = "Cancel orders through CRUXconnect, and know what came of it",
  detailed = [[
    A client of the CRUXconnect drop-ship API over libcurl: one call validates, sends one request over verified TLS,
    and says whether it was accepted, rejected, not sent, or is unknown. Blocking, or never blocking its host.
  ]],
  license = "MIT",
}

dependencies = { "lua >= 5.1, < 5.5", "lua-cjson >= 2.1.0" }

-- No header: with multiarch it is not where LuaRocks looks, and the compiler finds it by itself.
external_dependencies = { CURL = { library = "curl" } }

build = {
  type = "builtin",
  modules = {
    ["crux.core"] = {
      sources = {
        "csrc/buffer.c",
        "csrc/config.c",
        "csrc/endpoint.c",
        "csrc/outcome.c",
        "csrc/poller.c",
        "csrc/process.c",
        "csrc/sockets.c",
      },
      libraries = { "curl", "pthread" },
      incdirs = { "$(CURL_INCDIR)" },
      libdirs = { "$(CURL_LIBDIR)" },
    },
    ["crux.sandbox.certificate"] = "lua/crux/sandbox/certificate.lua",
    ["crux.sandbox.faults"] = "lua/crux/sandbox/faults.lua",
    ["crux.sandbox.http"] = "lua/crux/sandbox/http.lua",
    ["crux.sandbox.json"] = "lua/crux/sandbox/json.lua",
  },
}
