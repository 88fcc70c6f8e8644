--- Where the workers of a fleet storm run: processes of a Lua, or the worker processes of an nginx
-- that is reloaded every second.
--
--     local host = hosts.nginx{ base_url = …, token = …, redis = url, timeout = 2, rate = 200,
--       workers = 4, control = false }
--     host:kill()          -- one of the workers, by SIGKILL; another takes its place
--     host:turn()          -- between two kills
--     host:calm(is_empty)  -- lets the rest go through; returns what was wrong, or nil
--     host:close()
-- @module spec.support.fleet_hosts
local core = require "crux.core"
local files = require "spec.support.files"
local forks = require "spec.support.forks"
local nginx = require "spec.support.nginx"
local fleet_nginx = require "spec.support.fleet_nginx"

local quoted = files.quoted

local hosts = {}

-- Between two reloads, in seconds.
local RELOAD = 1
-- How long the rest of a queue may take, in seconds: a failure, not a measurement.
local PATIENCE = 600

-- --- processes of a Lua ---

local Processes = {}
Processes.__index = Processes

local COMMAND = "echo $$; CRUX_BASE_URL=%s CRUX_TOKEN=%s exec %s spec/support/fleet_worker.lua %s "
  .. "timeout=%g %s 2>&1"

local function kill(worker)
  forks.kill(worker.pid, 9)
  worker.pipe:close()
end

function Processes:start(place, value)
  local values = self.values
  local pipe = assert(io.popen(COMMAND:format(quoted(values.base_url), values.token,
    os.getenv "TEST_LUA" or "lua5.4", quoted(values.redis), values.timeout,
    value .. (values.control and " control=1" or ""))))
  self.workers[place] = { pid = tonumber(pipe:read("*l")), pipe = pipe }
end

function Processes:kill()
  local place = math.random(self.values.workers)
  kill(self.workers[place])
  self:start(place, self.rate)
end

function Processes.turn() end

function Processes:calm()
  self:close()
  for place = 1, self.values.workers do self:start(place, "until_empty=1") end
  for place, worker in pairs(self.workers) do
    local said = worker.pipe:read("*a")
    worker.pipe:close()
    self.workers[place] = nil
    if not said:find("ended\t%d+\t0\t%-") then return "a worker ended with: " .. said end
  end
end

function Processes:close()
  for place, worker in pairs(self.workers) do
    kill(worker)
    self.workers[place] = nil
  end
end

--- Each worker is a process of the Lua in TEST_LUA.
function hosts.processes(values)
  local self = setmetatable({
    values = values, workers = {}, rate = ("rate=%g"):format(values.rate), summary = "",
  }, Processes)
  for place = 1, values.workers do self:start(place, self.rate) end
  return self
end

-- --- worker processes of nginx ---

local Nginx = {}
Nginx.__index = Nginx

function Nginx:kill()
  local is_killed
  repeat -- those on their way out after a reload too
    local workers = self.server:workers()
    is_killed = workers[1] and forks.kill(workers[math.random(#workers)], 9)
  until is_killed
end

function Nginx:turn()
  if core.now() < self.reload_at then return end
  self.server:signal("HUP")
  self.reloads, self.reload_at = self.reloads + 1, core.now() + RELOAD
  self.summary = (", %d reloads"):format(self.reloads)
end

-- What a killed worker process and a killed Redis leave in the log.
local function is_allowed(line)
  if line:find("%[alert%]") then return line:find("exited on signal 9$") end
  if line:find("%[error%]") then return line:find("%) failed %(%d+: Connection re") end
  return not line:find("%[crit%]") and not line:find("%[emerg%]")
end

function Nginx:calm(is_empty)
  local deadline = core.now() + PATIENCE
  while not is_empty() do
    if core.now() > deadline then return "the queue did not become empty\n" .. self.server:log() end
    core.sleep(0.1)
    self:turn()
  end
  local log, status = self.server:close()
  if status ~= "0" then return "nginx ended with " .. tostring(status) .. "\n" .. log end
  for line in log:gmatch("[^\n]+") do
    if not is_allowed(line) then return "the log of nginx has: " .. line end
  end
end

function Nginx:close() self.server:close("TERM") end

--- Each worker runs in a worker process of one nginx, which is reloaded every second.
function hosts.nginx(values)
  local missing = nginx.missing()
  if missing then error(missing, 0) end
  local server = nginx.start{
    workers = values.workers, http = fleet_nginx(values),
    init = values.control and 'dofile "spec/support/fleet_control.lua"' or "",
    environment = { CRUX_BASE_URL = values.base_url, CRUX_TOKEN = values.token },
  }
  return setmetatable({
    server = server, reloads = 0, reload_at = core.now() + RELOAD, summary = "",
  }, Nginx)
end

return hosts
