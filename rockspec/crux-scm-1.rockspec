rockspec_format = "3.0"
package = "crux"
version = "scm-1"

-- For `luarocks make` in the tree.
source = { url = "." }

description = {
  summary = "Client for the CRUXconnect order API",
  detailed = [[
    Cancels and reads orders through CRUXconnect. It never sends a request twice on its own, and each call returns what
    is known about it: accepted, rejected, not_sent or unknown. Blocking and non-blocking, over libcurl with verified TLS.
  ]],
  license = "MIT",
}

dependencies = { "lua >= 5.1, < 5.6", "lua-cjson >= 2.1.0" }

-- LuaRocks would not find a header below Debian's /usr/include/<architecture>, where the compiler looks by itself.
external_dependencies = { CURL = { library = "curl" } }

build = {
  type = "builtin",
  modules = {
    ["crux.core"] = {
      sources = {
        "csrc/api.c",
        "csrc/binding/arguments.c",
        "csrc/binding/client.c",
        "csrc/binding/error.c",
        "csrc/binding/explain.c",
        "csrc/binding/field_errors.c",
        "csrc/binding/foreign_names.c",
        "csrc/binding/headers.c",
        "csrc/binding/invalid.c",
        "csrc/binding/json.c",
        "csrc/binding/json_writer.c",
        "csrc/binding/meta.c",
        "csrc/binding/names.c",
        "csrc/binding/options.c",
        "csrc/binding/pending.c",
        "csrc/binding/perform.c",
        "csrc/binding/request.c",
        "csrc/binding/request_headers.c",
        "csrc/binding/result.c",
        "csrc/binding/schema.c",
        "csrc/binding/secrets.c",
        "csrc/binding/snapshot.c",
        "csrc/binding/state.c",
        "csrc/binding/values.c",
        "csrc/crux.c",
        "csrc/http/buffer.c",
        "csrc/http/config.c",
        "csrc/http/connection.c",
        "csrc/http/deadlines.c",
        "csrc/http/engine.c",
        "csrc/http/inbox.c",
        "csrc/http/libcurl.c",
        "csrc/http/multi.c",
        "csrc/http/nginx.c",
        "csrc/http/outcome.c",
        "csrc/http/pool.c",
        "csrc/http/profile.c",
        "csrc/http/queue.c",
        "csrc/http/request.c",
        "csrc/http/response.c",
        "csrc/http/run_list.c",
        "csrc/http/transfer.c",
        "csrc/http/trust.c",
        "csrc/http/worker.c",
        "csrc/os/descriptor.c",
        "csrc/os/poller.c",
        "csrc/os/process.c",
        "csrc/os/wakeup.c",
        "csrc/os/wakeup_socket.c",
      },
      libraries = { "curl", "pthread" },
      incdirs = { "$(CURL_INCDIR)" },
      libdirs = { "$(CURL_LIBDIR)" },
    },
    crux = "lua/crux.lua",
    ["crux.api"] = "lua/crux/api.lua",
    ["crux.assert"] = "lua/crux/assert.lua",
    ["crux.batch"] = "lua/crux/batch.lua",
    ["crux.call"] = "lua/crux/call.lua",
    ["crux.callback"] = "lua/crux/callback.lua",
    ["crux.cancellation"] = "lua/crux/cancellation.lua",
    ["crux.client"] = "lua/crux/client.lua",
    ["crux.curl"] = "lua/crux/curl.lua",
    ["crux.default_client"] = "lua/crux/default_client.lua",
    ["crux.dispatcher"] = "lua/crux/dispatcher.lua",
    ["crux.environment"] = "lua/crux/environment.lua",
    ["crux.event"] = "lua/crux/event.lua",
    ["crux.orders"] = "lua/crux/orders.lua",
    ["crux.pacer"] = "lua/crux/pacer.lua",
    ["crux.pending"] = "lua/crux/pending.lua",
    ["crux.report"] = "lua/crux/report.lua",
    ["crux.resty"] = "lua/crux/resty.lua",
    ["crux.resty.wakeup"] = "lua/crux/resty/wakeup.lua",
    ["crux.retry"] = "lua/crux/retry.lua",
    ["crux.sandbox"] = "lua/crux/sandbox.lua",
    ["crux.sandbox.accounts"] = "lua/crux/sandbox/accounts.lua",
    ["crux.sandbox.certificate"] = "lua/crux/sandbox/certificate.lua",
    ["crux.sandbox.check"] = "lua/crux/sandbox/check.lua",
    ["crux.sandbox.faults"] = "lua/crux/sandbox/faults.lua",
    ["crux.sandbox.http"] = "lua/crux/sandbox/http.lua",
    ["crux.sandbox.json"] = "lua/crux/sandbox/json.lua",
    ["crux.sandbox.listener"] = "lua/crux/sandbox/listener.lua",
    ["crux.sandbox.orders"] = "lua/crux/sandbox/orders.lua",
    ["crux.sandbox.record"] = "lua/crux/sandbox/record.lua",
    ["crux.sandbox.service"] = "lua/crux/sandbox/service.lua",
    ["crux.sandbox.state"] = "lua/crux/sandbox/state.lua",
    ["crux.scheduler"] = "lua/crux/scheduler.lua",
    ["crux.token"] = "lua/crux/token.lua",
    ["crux.unreadable"] = "lua/crux/unreadable.lua",
    ["crux.wait"] = "lua/crux/wait.lua",
  },
  -- Definitions for the Lua language server.
  copy_directories = { "library" },
}
