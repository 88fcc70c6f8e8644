--- A sandbox as a separate process, for specs under any Lua. It ends with this process, even if
-- this one is killed.
--
--     local sandbox = process.sandbox{ orders = 1000 }
--     sandbox.base_url, sandbox.ca_file, sandbox.tokens.retailer, sandbox.orders[1], sandbox.shipped_order, sandbox.pid
--     sandbox:record().cancels[uuid].executed
--     sandbox:close()
-- @module spec.support.process

local cjson = require("cjson").new()

local process = {}

local here = debug.getinfo(1, "S").source:match("^@(.*/)[^/]*$") or "./"

local function quoted(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end

local Sandbox = {}
Sandbox.__index = Sandbox

local VALUES = {
  "host", "port", "orders", "token_lifetime", "confirm", "limit", "rate_limit", "random", "rate", "journal",
  "state",
}

local function arguments(options)
  local parts = { "--machine", "--until-eof" }
  for _, name in ipairs(VALUES) do
    local option = "--" .. name:gsub("_", "-")
    if options[name] then parts[#parts + 1] = option .. " " .. quoted(options[name]) end
  end
  for _, name in ipairs{ "plain", "revoke", "brief" } do
    if options[name] then parts[#parts + 1] = "--" .. name end
  end
  return table.concat(parts, " ")
end

local function parse(self)
  for line in self.output:lines() do
    if line == "" then return true end
    local name, value = line:match("^([%l_]+)=(.*)$")
    local token = name:match("^token_([%l_]+)$")
    if token then
      self.tokens[token] = value
    elseif name == "orders" then
      for uuid in value:gmatch("[^,]+") do self.orders[#self.orders + 1] = uuid end
    else
      self[name] = value
    end
  end
  return false
end

--- Start a sandbox, and do not wait until it listens: `await` does.
-- @tparam[opt] table options as for `sandbox`
-- @treturn table
function process.begin(options)
  local made = assert(io.popen('mktemp -d "${TMPDIR:-/tmp}/crux-spec.XXXXXX"'))
  local dir = made:read("*l")
  made:close()
  local fifo = dir .. "/output"
  os.execute("mkfifo " .. quoted(fifo))
  -- the shell opens the fifo, so that a sandbox that cannot start gives an end of file
  local command = "{ echo pid=$$; exec env -u LUA_INIT -u LUA_PATH -u LUA_CPATH -u LD_PRELOAD lua5.4 %s %s; } > %s"
  local input = assert(io.popen(command:format(quoted(here .. "../../examples/sandbox.lua"), arguments(options or {}),
    quoted(fifo)), "w"))
  local output = assert(io.open(fifo, "r"))
  os.remove(fifo)
  os.remove(dir)
  local self = { input = input, output = output, tokens = {}, orders = {}, state = options and options.state }
  return setmetatable(self, Sandbox)
end

--- Wait until a sandbox listens.
function Sandbox:await()
  if self.pid then return end
  if not parse(self) then
    self:close()
    error("expected the sandbox to start, found that it ended", 2)
  end
  self.port, self.pid = tonumber(self.port), tonumber(self.pid)
end

--- Start a sandbox.
-- @tparam[opt] table options `plain` (true for http) and the values of examples/sandbox.lua: `host`, `port`, `orders`,
--   `token_lifetime`, `brief` (true: without `orders`), `revoke` (true), `confirm`, `limit`, `rate_limit`, `random` (a seed), `rate`, `journal`,
--   `state`
-- @treturn table `base_url`, `port`, `ca_file`, `tokens` (`retailer`, `supplier`, `other_supplier`, `clerk`, `expired`), `orders`,
--   `shipped_order`, `pid`
function process.sandbox(options)
  local self = process.begin(options)
  self:await()
  return self
end

local function tell(self, line)
  -- writing to a sandbox that has ended would end this process by SIGPIPE
  if self.killed or not self.input then error("expected a sandbox that runs, found one that has ended", 3) end
  self.input:write(line, "\n")
  self.input:flush()
  local length = tonumber((assert(self.output:read("*l"), "expected an answer, found that the sandbox has ended")))
  return cjson.decode(self.output:read(length))
end

--- The sandbox's record: `{ connections, requests, logins, cancels }`, the last by order UUID
-- `{ received, executed, answers }`.
function Sandbox:record()
  local record = tell(self, "record")
  return record
end

--- Has all requests fail from now on.
-- @tparam string directives such as `"status=503,seconds=20"`; an empty string ends the outage
function Sandbox:outage(directives)
  local answer = tell(self, "outage " .. directives)
  if answer.outage ~= (directives ~= "") then error("expected an outage, found " .. tostring(answer.detail), 2) end
end

--- End the sandbox at once, as SIGKILL does. Its files are removed by `close`.
function Sandbox:kill()
  self.killed = true
  -- by kill(2): a shell is so slow under valgrind that the sandbox would have answered everything
  -- by then
  require("spec.support.forks").kill(self.pid, 9)
end

--- End the sandbox.
function Sandbox:close()
  if not self.input then return end
  self.output:close() -- before the other, which waits for its end: it may still write
  self.input:close()
  self.input = nil
  -- after `kill` its files are still there; another one may go on with those of a state
  if self.ca_file and not self.state then
    os.remove(self.ca_file)
    os.remove((self.ca_file:gsub("/[^/]*$", "")))
  end
end

return process
