--- A redis-server of one's own: on a free port, in its own directory, ended with this process even
-- if this one is killed.
--
--     local redis = require("spec.support.redis").start{ "--maxmemory 3mb" }
--     redis.url, redis.port
--     redis:kill()    -- as SIGKILL does
--     redis:start()   -- again, with what is on the disk
--     redis:close()
-- @module spec.support.redis
local Redis = require "crux.fleet.redis"
local core = require "crux.core"
local files = require "spec.support.files"
local forks = require "spec.support.forks"
local socket = require "socket"

local quoted = files.quoted

local Server = {}
Server.__index = Server

-- How long a server may take to start, in seconds: a failure, not a measurement.
local PATIENCE = 30

local function free_port()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  listener:close()
  return tonumber(port)
end

-- The shell ends the server when its own input ends: with `close`, or with this process.
local COMMAND = [[redis-server --bind 127.0.0.1 --port %d --dir %s --save '' --appendonly yes \
  --appendfsync always --loglevel warning --logfile %s %s & pid=$!
echo $pid >%s; cat >/dev/null; kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null]]

--- Starts the server, and waits until it answers.
function Server:start()
  local pid_file = self.directory .. "/pid"
  os.remove(pid_file)
  self.input = assert(io.popen(COMMAND:format(self.port, quoted(self.directory),
    quoted(self.directory .. "/log"), self.options, quoted(pid_file)) .. " 2>/dev/null", "w"))
  local deadline = core.now() + PATIENCE
  repeat
    core.sleep(0.01)
    local client = assert(Redis.new(self.own_url, { timeout = PATIENCE, ca_file = self.ca_file }))
    local reply = client:call("PING")
    client:close()
    assert(core.now() < deadline, "expected redis-server to start, found that it did not")
  until reply == "PONG"
  self.pid = tonumber((files.read(pid_file):match("%d+")))
  return self
end

--- Ends the server at once.
function Server:kill()
  if not self.input then return end
  if self.pid then forks.kill(self.pid, 9) end
  self.input:close()
  self.input, self.pid = nil, nil
end

--- Ends the server and removes its files.
function Server:close()
  self:kill()
  os.execute("rm -rf " .. quoted(self.directory))
end

--- A connected client.
function Server:client() return assert(Redis.new(self.own_url, { ca_file = self.ca_file })) end

local redis = {}

--- @tparam[opt] table options a list of flags of redis-server; `url`: what follows the port or
-- precedes the host, as `%d` for the port; `tls` and `ca_file`: it listens with TLS alone
function redis.start(options)
  options = options or {}
  local directory = files.lines("mktemp -d")[1]
  local self = setmetatable({
    directory = directory, port = free_port(), options = table.concat(options, " "),
    ca_file = options.ca_file,
  }, Server)
  self.url = ("redis://127.0.0.1:%d/0"):format(self.port)
  if options.tls then
    self.url = ("rediss://127.0.0.1:%d"):format(self.port)
    self.options = self.options .. (" --tls-port %d"):format(self.port)
  end
  self.own_url = options.url and options.url:format(self.port) or self.url
  return self:start()
end

return redis
