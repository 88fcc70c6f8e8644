--- A service that issues tokens, for the specs in spec/login. It accepts the tokens that it has
-- issued and not revoked; each is `tok-` and a number.
--
--     after_each(logins.close)
--     local service = logins.serve{ revokes = true }
--     local client = logins.client(service)
--     service:logins()  --> how many logins it has answered with a token
-- @module spec.support.logins
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local logins = { USER = "ada", PASSWORD = "pa55-of-ada" }
helper.watch(logins.PASSWORD)

-- `answers`: what the first logins are answered with, instead of a token. `revokes`: a login ends
-- the token before. `lifetime`: how many calls a token is good for. `delay`: of a login, in seconds.
local SCRIPT = [[
  local function note(...)
    shared.noted = (shared.noted or 0) + 1
    conn:tell(string.format("%06d", shared.noted), table.concat({ ... }, "\n"))
  end
  while true do
    local request = conn:request()
    if not request then return end
    if request.path:find("/organizations/user-login/", 1, true) then
      shared.asked = (shared.asked or 0) + 1
      note("login", request.path, request.body, request.headers["x-id"] or "")
      if shared.delay then conn:sleep(shared.delay) end
      local answer = shared.answers and shared.answers[shared.asked]
      if answer == "cut" then return conn:rst() end
      if not answer then
        shared.issued = (shared.issued or 0) + 1
        shared.used = 0
        local body = '{"auth_token":"tok-' .. shared.issued .. '"}'
        answer = "HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
      end
      conn:write(answer)
    else
      local token = request.headers.authorization:match("Token (%S+)")
      local number = tonumber(token:match("^tok%-(%d+)$") or 0)
      local first = shared.revokes and shared.issued or shared.valid_from or 1
      local is_valid = token == shared.extra or number >= first and number <= (shared.issued or 0)
      shared.used = (shared.used or 0) + (is_valid and 1 or 0)
      if shared.lifetime and shared.used > shared.lifetime then is_valid = false end
      note("call", token, is_valid and "valid" or "refused")
      if shared.call_delay then conn:sleep(shared.call_delay) end
      conn:write(is_valid and "HTTP/1.1 204 No Content\r\n\r\n"
        or "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    end
  end
]]

local opened = {}

local Service = {}
Service.__index = Service

--- Opens a service.
-- @tparam[opt] table shared see above
function logins.serve(shared)
  local self = setmetatable({ server = fault.serve{ script = SCRIPT, shared = shared or {} } }, Service)
  self.base_url = self.server.base_url
  opened[#opened + 1] = self.server
  return self
end

--- Changes the service.
function Service:set(shared) self.server:set(shared) end

local function noted(self, name)
  local all, list = {}, {}
  for _, conn in ipairs(self.server:record().conns) do
    for number, text in pairs(conn) do
      if type(number) == "string" and number:find("^%d+$") then all[#all + 1] = { tonumber(number), text } end
    end
  end
  table.sort(all, function(a, b) return a[1] < b[1] end)
  for _, entry in ipairs(all) do
    local words = {}
    for word in (entry[2] .. "\n"):gmatch("(.-)\n") do words[#words + 1] = word end
    if words[1] == name then list[#list + 1] = words end
  end
  return list
end

--- The logins that it was asked for, each `{ "login", path, body, X-Id }`.
function Service:logins() return noted(self, "login") end

--- The calls that it has got, each `{ "call", token, "valid" or "refused" }`.
function Service:calls() return noted(self, "call") end

--- The tokens of these calls.
function Service:tokens()
  local list = {}
  for i, entry in ipairs(self:calls()) do list[i] = entry[2] end
  return list
end

--- Makes a client that logs in at the service.
-- @tparam table service
-- @tparam[opt] table more options; `new` makes it instead of `crux.new`
function logins.client(service, more)
  local options = { base_url = service.base_url, username = logins.USER, password = logins.PASSWORD, timeout = 10 }
  for name, value in pairs(more or {}) do options[name] = value end
  local new = options.new or crux.new
  options.new = nil
  local client = assert(new(options))
  opened[#opened + 1] = client
  return client
end

--- Closes all that was opened here.
function logins.close()
  for i = #opened, 1, -1 do opened[i]:close() end
  opened = {}
end

return logins
