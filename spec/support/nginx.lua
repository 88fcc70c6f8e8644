--- An nginx of one's own with crux.resty inside, on loopback and in a temporary directory, for
-- specs under any Lua.
--
--     local server = nginx.start{ workers = 2 }
--     local answer = server:run[[ return { crux.get_order{ … } } ]]      -- in a content handler of it
--     local answers = server:ask({ { path = "/static" }, … }, concurrency)
--     server:close()
-- @module spec.support.nginx

local cjson = require("cjson").new()

local nginx = {}

local here = debug.getinfo(1, "S").source:match("^@(.*/)[^/]*$") or "./"

local MODULES = "/usr/lib/nginx/modules/"

local function quoted(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return (text:gsub("\n$", ""))
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

local root = output("cd " .. quoted(here .. "../..") .. " && pwd")

-- Beside the module that runs here, so that it is built with the same libcurl. `make` puts the absolute path first.
local module = (";" .. package.cpath):match(";(/[^;]-)[^/;]*/%?%.so") .. "luajit"

--- Why there can be no nginx here, or nil. Builds crux for LuaJIT.
function nginx.missing()
  if not exists(MODULES .. "ngx_http_lua_module.so") or output("command -v nginx") == "" then
    return "needs nginx with ngx_http_lua: make deps-resty"
  end
  if not nginx.built then
    -- what was said to the make that runs this is not for the other one
    local make = "cd %s && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make all LUA=luajit DIR=%s 2>&1; echo $?"
    -- named as the Makefile names it: the headers that an object depends on are noted under the
    -- object's name, and one that is not rebuilt after them would crash
    local inside = module:sub(1, #root + 1) == root .. "/"
    local dir = inside and module:sub(#root + 2) or module
    local made = output(make:format(quoted(root), quoted(dir)))
    if not made:find("%f[^\n%z]0$") then return "needs crux for LuaJIT: " .. made end
    nginx.built = true
  end
  return nil
end

local CONFIG = [[
daemon off;
master_process on;
worker_processes %(workers);
worker_rlimit_nofile 4096;
worker_shutdown_timeout %(shutdown);
%(user)
pid %(dir)/pid;
error_log %(dir)/error.log info;
load_module %(modules)ndk_http_module.so;
load_module %(modules)ngx_http_lua_module.so;
env CRUX_TOKEN;
env CRUX_BASE_URL;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path %(dir)/body;
  proxy_temp_path %(dir)/proxy;
  fastcgi_temp_path %(dir)/fastcgi;
  uwsgi_temp_path %(dir)/uwsgi;
  scgi_temp_path %(dir)/scgi;
  client_body_buffer_size 1m;
  lua_package_path "%(root)/lua/?.lua;;";
  lua_package_cpath "%(module)/?.so;;";
  lua_code_cache %(code_cache);
  %(http)
  init_by_lua_block {
    require("crux.resty.wakeup").mode = "%(mode)"
    %(init)
  }
  server {
    listen 127.0.0.1:%(port) reuseport backlog=4096;
    keepalive_requests 1000000;
    location = /static { return 200 "static"; }
    location = /run {
      lua_check_client_abort on;
      content_by_lua_block {
        ngx.req.read_body()
        local wakeup = require "crux.resty.wakeup"
        if wakeup.mode == "event" then wakeup.mode = "%(mode)" end
        _G.crux = require "crux.resty"
        local value = assert(loadstring(ngx.req.get_body_data(), "=run"))()
        ngx.print(require("cjson").encode(value))
      }
    }
    %(server)
  }
}
]]

local Server = {}
Server.__index = Server

local function free_port()
  return tonumber(output([[lua5.4 -e 'local s = require "cqueues.socket".listen{ host = "127.0.0.1", port = 0 }; s:listen()
    print((select(3, s:localname())))']]))
end

--- Starts one.
-- @tparam[opt] table options `workers` (1), `code_cache` ("on"), `mode` ("event": how crux is
--   woken), `shutdown` ("60s"), `init`, `http` and `server` (more configuration there),
--   `environment` (a table); `config`: a whole configuration with the places of CONFIG, which
--   answers /static
function nginx.start(options)
  local values = {
    workers = 1, code_cache = "on", mode = "event", shutdown = "60s", init = "", http = "", server = "",
    modules = MODULES, root = root, module = module, port = free_port(),
    dir = output('mktemp -d "${TMPDIR:-/tmp}/crux-nginx.XXXXXX"'),
    user = output("id -u") == "0" and "user root;" or "",
  }
  for name, value in pairs(options or {}) do values[name] = value end
  local self = setmetatable({ dir = values.dir, port = values.port }, Server)
  local file = assert(io.open(self.dir .. "/nginx.conf", "w"))
  file:write(((values.config or CONFIG):gsub("%%%((%l[%l_]*)%)", function(name) return values[name] end)))
  file:close()
  local words = { "exec env -u CRUX_TOKEN -u CRUX_USERNAME -u CRUX_PASSWORD -u CRUX_BASE_URL "
    .. "-u CRUX_CA_FILE -u LD_PRELOAD -u LUA_PATH -u LUA_CPATH" }
  for name, value in pairs(values.environment or {}) do words[#words + 1] = name .. "=" .. quoted(value) end
  words[#words + 1] = ("nginx -p %s -c %s -e %s"):format(quoted(self.dir), quoted(self.dir .. "/nginx.conf"),
    quoted(self.dir .. "/error.log"))
  -- the shell that ends with this process ends nginx
  local keeper = [[trap '' INT; (%s) >/dev/null 2>&1 </dev/null & pid=$!
    read -r how; kill -${how:-TERM} $pid 2>/dev/null; wait $pid; echo $? > %s]]
  self.keeper = assert(io.popen(keeper:format(table.concat(words, " "), quoted(self.dir .. "/status")), "w"))
  for _ = 1, 100 do
    if exists(self.dir .. "/pid") and self:ask{ { path = "/static" } }[1].status == 200 then return self end
    os.execute("sleep 0.05")
  end
  local log = self:log()
  self:close()
  error("expected nginx to start, found: " .. log, 2)
end

--- Starts requests, and returns a function that waits for their answers.
-- @tparam table requests each `{ path, body, give_up }`
-- @tparam[opt=1] number concurrency
function Server:begin(requests, concurrency)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(("%d %d\n"):format(concurrency or 1, #requests))
  for _, request in ipairs(requests) do
    file:write(("%s %s %d\n%s"):format(request.give_up or 0, request.path or "/run", #(request.body or ""), request.body or ""))
  end
  file:close()
  local pipe = assert(io.popen(("env -u LUA_INIT -u LUA_PATH -u LUA_CPATH -u LD_PRELOAD lua5.4 %s %d < %s"):format(
    quoted(here .. "http.lua"), self.port, quoted(name))))
  return function()
    local answers = {}
    for i = 1, #requests do
      local line = assert(pipe:read("*l"), "expected an answer of the client, found that it ended")
      local status, seconds, length = line:match("^(%d+) (%S+) (%d+)$")
      answers[i] = {
        status = tonumber(status), seconds = tonumber(seconds),
        body = length ~= "0" and pipe:read(tonumber(length)) or "",
      }
    end
    pipe:close()
    os.remove(name)
    return answers
  end
end

--- The same, and waits.
function Server:ask(requests, concurrency) return self:begin(requests, concurrency)() end

--- Runs a chunk in a content handler, and returns what it returned.
function Server:run(chunk)
  local answer = self:ask{ { body = chunk } }[1]
  if answer.status ~= 200 then error(("expected 200, found %d: %s\n%s"):format(answer.status, answer.body, self:log()), 2) end
  return cjson.decode(answer.body)
end

function Server:log()
  local file = io.open(self.dir .. "/error.log")
  local text = file and file:read("*a") or ""
  if file then file:close() end
  return text
end

--- Sends the master a signal.
function Server:signal(name) os.execute(("kill -%s $(cat %s)"):format(name, quoted(self.dir .. "/pid"))) end

--- The processes that carry requests, those on their way out included.
function Server:workers()
  local list = {}
  local found = output(("grep -ls \"^PPid:[[:space:]]*$(cat %s)$\" /proc/[0-9]*/status"):format(quoted(self.dir .. "/pid")))
  for pid in found:gmatch("/proc/(%d+)/") do list[#list + 1] = tonumber(pid) end
  return list
end

-- A file of a process, or nil where the system does not tell.
local function proc(pid, name)
  local file = io.open(("/proc/%d/%s"):format(pid, name))
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

--- What a worker has used so far, or nil where the system does not tell.
-- @treturn number seconds of processor time
-- @treturn number how often its first thread, which is nginx's own, went to sleep
-- @treturn number how many threads it has
function nginx.usage(pid)
  local stat, status = proc(pid, "stat"), proc(pid, "status")
  if not (stat and status) then return nil end
  -- the 12th and 13th after the name, which may have spaces
  local user, system = stat:match("%) %a" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return (tonumber(user) + tonumber(system)) / tonumber(output("getconf CLK_TCK")),
    tonumber(status:match("\nvoluntary_ctxt_switches:%s*(%d+)")), tonumber(status:match("\nThreads:%s*(%d+)"))
end

--- Ends it, in good order ("QUIT") unless told otherwise, and removes its files.
-- @treturn string its log, to the last
-- @treturn string the master's exit status
function Server:close(how)
  if not self.keeper then return "" end
  self.keeper:write(how or "QUIT", "\n")
  self.keeper:close()
  self.keeper = nil
  local log = self:log()
  local file = io.open(self.dir .. "/status")
  local status = file and file:read("*l")
  if file then file:close() end
  os.execute("rm -rf " .. quoted(self.dir))
  return log, status
end

return nginx
