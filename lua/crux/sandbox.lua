--- A CRUXconnect of one's own, on loopback: a real server over HTTPS with orders in memory, to try
-- things against. Needs Lua 5.4, lua-cqueues, lua-luaossl and lua-cjson, and of crux nothing but
-- `crux.api`, its data: it is for developing and testing.
--
--     local sandbox = require "crux.sandbox"
--     local s = sandbox.new{ orders = 100 }
--     print(s.base_url, s.ca_file, s.tokens.retailer, s.orders[1])
--     s:run()                                        -- until somebody calls s:stop()
--     s:close()
--
-- It speaks v1 and, under `/timp`, the later API: `POST /organizations/user-login/`, `PATCH
-- /orders/cancel/`, `GET /orders/<uuid>/`, `POST /orders/create/`, `POST /orders/`, with the
-- documented codes and with error bodies in the shapes of Django REST Framework. A cancellation is
-- confirmed at once: the order then shows the line items as `Cancelled`, all that were pending, or
-- those of the `skus` (in timp too). Users: `retailer`, `supplier`, `clerk`; each one's password is
-- the user's name.
--
-- A path may begin with fault directives, as in `/~status=503,retry_after=2/orders/cancel/`: see
-- `crux.sandbox.faults`. And there are pages about the server itself, which are not counted as
-- requests: `GET /~record/` (connections, requests, and for every order how often a cancellation
-- was received and executed, and what was answered: 0 for a dropped connection), `GET
-- /~record/orders/<uuid>/` (one order: read it with `crux.get_order` and `base_url .. "/~record"`),
-- `GET /~orders/` (the UUIDs).
-- @module crux.sandbox

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local errno = require "cqueues.errno"
local socket = require "cqueues.socket"
local accounts = require "crux.sandbox.accounts"
local certificate = require "crux.sandbox.certificate"
local check = require "crux.sandbox.check"
local faults = require "crux.sandbox.faults"
local http = require "crux.sandbox.http"
local json = require "crux.sandbox.json"
local orders = require "crux.sandbox.orders"
local record = require "crux.sandbox.record"
local service = require "crux.sandbox.service"

local sandbox = {}

local Sandbox = {}
Sandbox.__index = Sandbox

local OPTIONS = {
  host = true, port = true, tls = true, orders = true, token_lifetime = true, random = true,
  journal = true,
}

local function temporary_directory()
  local made = assert(io.popen('mktemp -d "${TMPDIR:-/tmp}/crux-sandbox.XXXXXX"'))
  local path = made:read("l")
  made:close()
  return assert(path, "expected a temporary directory, found none")
end

local function silence(_, _, why) return why end

local function seed_orders(self, count)
  self.orders = {}
  for i = 1, count do
    local given = i == 1 and { uuid = orders.DOCUMENTED_ORDER } or nil
    self.orders[i] = self.state.orders:add(given).uuid
  end
  self.shipped_order = self.state.orders:add{ shipped = true }.uuid
end

local function listen(self, host, port)
  self.socket = assert(socket.listen{ host = host, port = port, reuseaddr = true, nodelay = true })
  self.socket:onerror(silence)
  local ok, why = self.socket:listen()
  if not ok then
    self:close()
    error(("expected to listen on %s:%d, found %s"):format(host, port, errno.strerror(why)), 3)
  end
  local _, _, actual = self.socket:localname()
  self.port = actual
  local name = host:find(":", 1, true) and "[" .. host .. "]" or host
  self.base_url = ("%s://%s:%d"):format(self.context and "https" or "http", name, actual)
end

--- Make a sandbox; it listens from now on, and answers while `run` runs.
-- @tparam[opt] table options `host` (`"127.0.0.1"`), `port` (0, any that is free), `tls` (true),
--   `orders` (5: how many pending ones to start with), `token_lifetime` (7200 seconds), `random`
--   (`{ seed, rate }`: faults at random for every request without a directives), `journal` (a file
--   that outlives the process: see `crux.sandbox.record`)
-- @treturn table `base_url`, `port`, `ca_file` (nil without TLS), `tokens` (`retailer`, `supplier`,
--   `clerk`, who lacks the permission to cancel, `expired`), `orders` (UUIDs of the pending ones),
--   `shipped_order` (the UUID of one that is not pending any more), `record`, `loop` (its cqueues
--   controller)
function sandbox.new(options)
  options = options or {}
  for name in pairs(options) do
    if not OPTIONS[name] then error(("unknown option %q"):format(tostring(name)), 2) end
  end
  local users = accounts.new(options.token_lifetime or 7200)
  local self = setmetatable({
    loop = cqueues.new(), stopped = false, wake = condition.new(), live = {},
    record = record.new(options.journal),
    decide = faults.decider{ random = options.random },
  }, Sandbox)
  self.state = { accounts = users, orders = orders.new(), record = self.record }
  self.tokens = { expired = users:issue(users.users.retailer, 0) }
  for name, user in pairs(users.users) do self.tokens[name] = users:issue(user) end
  if options.tls ~= false then
    local authority = certificate.authority()
    local names = { "127.0.0.1", "localhost", "::1" }
    self.context = certificate.context(certificate.server{ names = names, authority = authority })
    self.directory = temporary_directory()
    self.ca_file = self.directory .. "/ca.pem"
    certificate.write(self.ca_file, authority)
  end
  listen(self, options.host or "127.0.0.1", options.port or 0)
  seed_orders(self, options.orders or 5)
  return self
end

-- --- answering ---

local NO_CONTENT = http.format{ status = 204 }

local function format(status, body, headers, close)
  if status == 204 and not close then return NO_CONTENT end
  local encoded = body and json.encode(body)
  return http.format{ status = status, body = encoded, headers = headers, close = close }, close
end

local function admin(self, path)
  if path == "/~record/" then return 200, self.record:show() end
  if path == "/~orders/" then
    return 200, { pending = json.list(self.orders), shipped = self.shipped_order }
  end
  local uuid = path:match("^/~record/orders/([%x-]+)/$")
  if uuid and check.is_uuid(uuid) then return 200, self.record:show(uuid) end
  return 404, { detail = "Not found." }
end

local DETAIL = {
  [429] = "Request was throttled.", [500] = "A server error occurred.", [502] = "Bad gateway.",
  [503] = "Service temporarily unavailable, try again later.",
  [504] = "The upstream did not answer in time.",
}

local BODIES = {
  html = function(status)
    return ("<html><body><h1>%d</h1></body></html>"):format(status), "text/html"
  end,
  garbage = function() return '{"detail": "trunca' end,
  empty = function() return "" end,
}

local function faulty_answer(self, fault, path, close)
  local status = fault.status
  local headers = {}
  if fault.retry_after then headers[1] = "Retry-After: " .. fault.retry_after end
  if status >= 300 and status < 400 and not fault.location then
    headers[#headers + 1] = "Location: " .. self.base_url .. path
  end
  local body, media
  if fault.body then
    body, media = (BODIES[fault.body] or BODIES.empty)(status)
  elseif status >= 400 then
    body = json.encode{ detail = DETAIL[status] or "This failed on request." }
  end
  local answer = { status = status, body = body, type = media, headers = headers, close = close }
  return http.format(answer), close
end

local function respond(self, request)
  local path = request.path
  if path:find("^/~record/") or path == "/~orders/" then
    local status, body = admin(self, path)
    return format(status, body, nil, request.close)
  end
  local counted = self.record
  counted.requests = counted.requests + 1
  local directives, rest = path:match("^/~([^/]*)(/.*)$")
  local fault
  if directives then
    local why
    fault, why = faults.parse(directives)
    if not fault then return format(404, { detail = why }, nil, request.close) end
    request.path = rest
  end
  fault = self.decide(fault)

  local decoded = request.body ~= "" and json.decode(request.body) or nil
  local uuid = type(decoded) == "table" and decoded.order_uuid
  if not (request.method == "PATCH" and check.is_uuid(uuid)) then uuid = nil end
  if uuid then counted:received(uuid) end

  if not fault then
    local status, body, headers = service.answer(self.state, request, decoded)
    if uuid then counted:answered(uuid, status) end
    return format(status, body, headers, request.close)
  end

  if fault.delay then cqueues.sleep(fault.delay / 1000) end
  if fault.drop == "before" then
    if uuid then counted:answered(uuid, 0) end
    return nil
  end
  local close = request.close or fault.close ~= nil
  local status, body, headers
  if not fault.status or fault.execute then
    status, body, headers = service.answer(self.state, request, decoded)
  end
  if fault.delay_after then cqueues.sleep(fault.delay_after / 1000) end
  if uuid then counted:answered(uuid, fault.drop and 0 or fault.status or status) end
  if fault.drop then return nil end
  if fault.status then return faulty_answer(self, fault, request.path, close) end
  return format(status, body, headers, close)
end

-- --- running ---

local function attend(self, con)
  con:setmode("b", "bn")
  con:onerror(silence)
  self.live[con] = true
  self.record.connections = self.record.connections + 1
  local ok, why = xpcall(function()
    if self.context and not con:starttls(self.context) then return end
    http.serve(con, function(request) return respond(self, request) end)
  end, debug.traceback)
  if not ok and not self.stopped then io.stderr:write("sandbox: ", tostring(why), "\n") end
  self.live[con] = nil
  con:close()
end

local function accept(self)
  while not self.stopped do
    local con, why = self.socket:accept({ nodelay = true }, 0)
    if con then
      self.loop:wrap(attend, self, con)
    else
      cqueues.poll(self.socket, self.wake)
      -- without descriptors left the listener stays readable: a pause, or this would spin
      if why ~= errno.ETIMEDOUT and not self.stopped then cqueues.sleep(0.01) end
    end
  end
end

--- Have a function run in a coroutine of the sandbox's own controller.
function Sandbox:wrap(fn, ...)
  self.loop:wrap(fn, ...)
  return self
end

--- Serve, until `stop`.
function Sandbox:run()
  self.loop:wrap(accept, self)
  while not self.stopped do
    local ok, why = self.loop:step()
    if not ok then error(why, 2) end
  end
end

--- Have `run` return. May be called from within.
function Sandbox:stop()
  self.stopped = true
  self.wake:signal()
end

--- Stop, close every connection and remove the files. May be called again.
function Sandbox:close()
  self:stop()
  for con in pairs(self.live) do con:close() end
  self.live = {}
  if self.socket then
    self.socket:close()
    self.socket = nil
  end
  if self.directory then
    os.remove(self.ca_file)
    os.remove(self.directory)
    self.directory = nil
  end
end

return sandbox
