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
-- confirmed at once, unless the option `confirm` says otherwise: the order then shows the line
-- items as `Cancelled`, all that were pending, or those of the `skus` (in timp too). Users:
-- `retailer`, `supplier`, `other_supplier`, `clerk`; each one's password is the user's name. An
-- order that is not created with other lines has one of each supplier.
--
-- A path may begin with fault directives, as in `/~status=503,retry_after=2/orders/cancel/`: see
-- `crux.sandbox.faults`. And there are pages about the server itself, which are not counted as
-- requests: `GET /~record/` (connections, requests, logins, and for every order, or line that was
-- cancelled by itself, how often a cancellation was received and executed, and what was answered: 0
-- for a dropped connection), `GET /~record/orders/<uuid>/` (one order: read it with
-- `crux.get_order` and `base_url .. "/~record"`), `GET /~orders/` (the UUIDs). `GET
-- /~outage/status=503,seconds=20/` has all requests fail in that way from now on, for so long, and
-- `GET /~outage/` ends it. During `GET /~outage/refuse=yes,seconds=20/` connections are refused,
-- and those that are open are closed.
-- @module crux.sandbox

local cqueues = require "cqueues"
local accounts = require "crux.sandbox.accounts"
local certificate = require "crux.sandbox.certificate"
local check = require "crux.sandbox.check"
local faults = require "crux.sandbox.faults"
local http = require "crux.sandbox.http"
local json = require "crux.sandbox.json"
local listener = require "crux.sandbox.listener"
local orders = require "crux.sandbox.orders"
local record = require "crux.sandbox.record"
local service = require "crux.sandbox.service"
local state = require "crux.sandbox.state"

local sandbox = {}

local Sandbox = {}
Sandbox.__index = Sandbox

local OPTIONS = {
  host = true, port = true, tls = true, orders = true, token_lifetime = true, revoke = true,
  confirm = true, limit = true, rate_limit = true, random = true, journal = true,
  state = true,
}

local function temporary_directory()
  local made = assert(io.popen('mktemp -d "${TMPDIR:-/tmp}/crux-sandbox.XXXXXX"'))
  local path = made:read("l")
  made:close()
  return assert(path, "expected a temporary directory, found none")
end

local function silence(_, _, why) return why end

local function seed_orders(self, count)
  local kept = self.kept and self.kept:get("seed", "orders")
  if kept then
    self.orders, self.shipped_order = kept.pending, kept.shipped
    return
  end
  self.orders = {}
  for i = 1, count do
    local given = i == 1 and { uuid = orders.DOCUMENTED_ORDER } or nil
    self.orders[i] = self.state.orders:add(given).uuid
  end
  self.shipped_order = self.state.orders:add{ shipped = true }.uuid
  if self.kept then
    local pending = json.list(self.orders)
    self.kept:put("seed", "orders", { pending = pending, shipped = self.shipped_order })
  end
end

-- The users' first tokens.
local function issue_tokens(self, users)
  local kept = self.kept and self.kept:get("seed", "tokens")
  self.tokens = kept or { expired = users:issue(users.users.retailer, 0) }
  if kept then return end
  for name, user in pairs(users.users) do self.tokens[name] = users:issue(user) end
  if self.kept then self.kept:put("seed", "tokens", self.tokens) end
end

-- The state, and what a file has kept of it, if there is one.
local function make_state(self, options)
  local kept = options.state and state.open(options.state)
  local function keeper(kind)
    return kept and function(name, value) kept:put(kind, name, value) end
  end
  local keep_order, keep_token = keeper "order", keeper "token"
  self.kept = kept
  self.record = record.new(options.journal, keeper "cancel")
  self.state = {
    accounts = accounts.new(options.token_lifetime or 7200, options.revoke, keep_token
      and function(token, username, expires)
        keep_token(token, { username = username, expires = expires })
      end),
    orders = orders.new(options.confirm, keep_order
      and function(order) keep_order(order.uuid, order) end),
    record = self.record, limit = options.limit or "position",
  }
  if not kept then return end
  for _, order in pairs(kept.values.order or {}) do self.state.orders:restore(order) end
  for uuid, entry in pairs(kept.values.cancel or {}) do self.record:restore(uuid, entry) end
  for token, entry in pairs(kept.values.token or {}) do
    self.state.accounts:restore(token, entry.username, entry.expires)
  end
end

local function make_authority(kept)
  local text = kept and kept:get("tls", "authority")
  if text then return certificate.import(text) end
  local authority = certificate.authority()
  if kept then kept:put("tls", "authority", certificate.export(authority)) end
  return authority
end

local function make_tls(self)
  local authority = make_authority(self.kept)
  local names = { "127.0.0.1", "localhost", "::1" }
  self.context = certificate.context(certificate.server{ names = names, authority = authority })
  if self.kept then
    self.ca_file = self.kept.path .. ".ca.pem"
  else
    self.directory = temporary_directory()
    self.ca_file = self.directory .. "/ca.pem"
  end
  certificate.write(self.ca_file, authority)
end

local function listen(self, host, port)
  local ok, made = pcall(listener.new, host, port)
  if not ok then
    self:close()
    error(made, 3)
  end
  self.listener, self.port = made, made.port
  local name = host:find(":", 1, true) and "[" .. host .. "]" or host
  self.base_url = ("%s://%s:%d"):format(self.context and "https" or "http", name, self.port)
end

--- Make a sandbox; it listens from now on, and answers while `run` runs.
-- @tparam[opt] table options
--   `host` (`"127.0.0.1"`), `port` (0, any that is free), `tls` (true), `orders` (5: how many
--   pending ones to start with), `token_lifetime` (7200 seconds), `revoke` (whether a login ends
--   the user's earlier tokens), `confirm` (when suppliers confirm: `"auto"`, at once; `"manual"`,
--   when asked to; or after so many seconds), `limit` (what it is in a list: the `"position"` of
--   the last order, or the `"size"` of a page), `rate_limit` (more requests in a second are
--   answered with 429 and `Retry-After: 1`), `random` (`{ seed, rate }`: faults at random for every
--   request without directives), `journal` (a file that outlives the process: see
--   `crux.sandbox.record`), `state` (a file in which orders, tokens, port and authority are kept,
--   for a sandbox that goes on with them: see `crux.sandbox.state`; `ca_file` is then beside it)
-- @treturn table `base_url`, `port`, `ca_file` (nil without TLS), `tokens` (`retailer`, `supplier`,
--   `clerk`, who lacks the permission to cancel, `expired`), `orders` (UUIDs of the pending ones),
--   `shipped_order` (the UUID of one that is not pending any more), `record`, `loop` (its cqueues
--   controller)
function sandbox.new(options)
  options = options or {}
  for name in pairs(options) do
    if not OPTIONS[name] then error(("unknown option %q"):format(tostring(name)), 2) end
  end
  local self = setmetatable({
    loop = cqueues.new(), stopped = false, live = {},
    decide = faults.decider{ random = options.random },
    rate = { limit = options.rate_limit or math.huge, since = 0, count = 0 },
  }, Sandbox)
  make_state(self, options)
  issue_tokens(self, self.state.accounts)
  if options.tls ~= false then make_tls(self) end
  local port = options.port or self.kept and math.tointeger(self.kept:get("seed", "port"))
  listen(self, options.host or "127.0.0.1", port or 0)
  if self.kept then self.kept:put("seed", "port", self.port) end
  seed_orders(self, options.orders or 5)
  return self
end

-- --- answering ---

local NO_CONTENT = http.format{ status = 204 }

local function format(status, body, headers, close)
  if status == 204 and not close then return NO_CONTENT end
  return http.format{
    status = status, body = body and json.encode(body), headers = headers, close = close,
  }, close
end

-- The fault of the outage that there is now.
local function outage_of(self)
  if self.outage and self.outage.ends <= cqueues.monotime() then self.outage = nil end
  return self.outage and self.outage.fault
end

-- Refuses connections, and closes all there are but one, which has this to answer.
local function refuse(self, but)
  self.listener:pause()
  for con in pairs(self.live) do
    if con ~= but then con:shutdown("rw") end
  end
end

-- Accepts connections again when an outage is over.
local function recover(self, outage)
  while not self.stopped and self.outage == outage and cqueues.monotime() < outage.ends do
    self.listener:wait(outage.ends - cqueues.monotime())
  end
  local now = outage_of(self)
  if not (now and now.refuse) then self.listener:resume() end
end

--- Have all requests fail from now on, instead of the outage before, or no longer.
-- @tparam string directives those of `GET /~outage/`, or an empty string
-- @param[opt] con the connection of the request for this: the only one that is not closed
-- @treturn number status of the answer
-- @treturn table its body
function Sandbox:set_outage(directives, con)
  local fault
  if directives ~= "" then
    local why
    fault, why = faults.parse(directives)
    if fault and fault.refuse and not fault.seconds then fault, why = nil, "expected seconds" end
    if not fault then return 404, { detail = why } end
  end
  local seconds = fault and fault.seconds or math.huge
  local outage = fault and { fault = fault, ends = cqueues.monotime() + seconds }
  self.outage = outage
  self.listener:signal() -- the outage before is over
  if fault and fault.refuse then
    fault.drop = "before" -- for a request that has arrived
    refuse(self, con)
    self.loop:wrap(recover, self, outage)
  end
  return 200, { outage = fault ~= nil }
end

local function admin(self, path, con)
  if path == "/~record/" then return 200, self.record:show() end
  if path == "/~orders/" then
    return 200, { pending = json.list(self.orders), shipped = self.shipped_order }
  end
  local uuid = path:match("^/~record/orders/([%x-]+)/$")
  if uuid and check.is_uuid(uuid) then return 200, self.record:show(uuid) end
  local directives = path:match("^/~outage/([^/]*)/?$")
  if directives then return self:set_outage(directives, con) end
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
  return http.format{
    status = status, body = body, type = media, headers = headers, close = close,
  }, close
end

-- Whether there were too many requests since the second began.
local function is_throttled(rate)
  local now = cqueues.monotime()
  if now - rate.since >= 1 then rate.since, rate.count = now, 0 end
  rate.count = rate.count + 1
  return rate.count > rate.limit
end

local function respond(self, request, con)
  local path = request.path
  if path:find("^/~record/") or path == "/~orders/" or path:find("^/~outage/") then
    local status, body = admin(self, path, con)
    local fault = outage_of(self)
    return format(status, body, nil, request.close or fault and fault.refuse ~= nil)
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
  if is_throttled(self.rate) then fault = { status = 429, retry_after = 1 }
  else fault = self.decide(fault or outage_of(self)) end

  local decoded = request.body ~= "" and json.decode(request.body) or nil
  local uuid = type(decoded) == "table" and decoded.order_uuid
  if not (request.method == "PATCH" and check.is_uuid(uuid)) then uuid = nil end
  if request.method == "DELETE" then uuid = request.path:match("/items/cancel/([%x-]+)/$") end
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
    http.serve(con, function(request) return respond(self, request, con) end)
  end, debug.traceback)
  if not ok and not self.stopped then io.stderr:write("sandbox: ", tostring(why), "\n") end
  self.live[con] = nil
  con:close()
end

--- Have a function run in a coroutine of the sandbox's own controller.
function Sandbox:wrap(fn, ...)
  self.loop:wrap(fn, ...)
  return self
end

--- Serve, until `stop`.
function Sandbox:run()
  self.loop:wrap(self.listener.serve, self.listener, function(con)
    self.loop:wrap(attend, self, con)
  end)
  while not self.stopped do
    local ok, why = self.loop:step()
    if not ok then error(why, 2) end
  end
end

--- Have `run` return. May be called from within.
function Sandbox:stop()
  self.stopped = true
  if self.listener then self.listener:signal() end
end

--- Stop, close every connection and remove the files. May be called again.
function Sandbox:close()
  self:stop()
  for con in pairs(self.live) do con:close() end
  self.live = {}
  if self.listener then self.listener:close() end
  if self.directory then
    os.remove(self.ca_file)
    os.remove(self.directory)
    self.directory = nil
  end
  if self.kept then self.kept:close() end
end

return sandbox
