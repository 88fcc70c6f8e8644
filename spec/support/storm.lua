--- A sandbox that fails in every way while orders are cancelled at it: it answers 429 for a while,
-- is restarted, killed and started again, refuses connections, and its tokens last two seconds.
--
--     local weather = storm.start{ orders = 2000 }
--     weather:pass(done)               -- again and again: fails in the next way, if it is time
--     weather:check(answers)           -- against the record
--     weather:close()
-- @module spec.support.storm

local core = require "crux.core"
local ledger = require "spec.support.ledger"
local process = require "spec.support.process"

local storm = {}

local Storm = {}
Storm.__index = Storm

local LIFETIME = 2 -- seconds that a token is good for

-- How long the service takes for an order, in milliseconds: so that each failure meets some that
-- are in flight.
local SLOW = "/~delay=3,delay_after=3"

-- What happens, in order, and once how many of 2,000 orders are done.
local EVENTS = {
  { 200, function(self) self.sandbox:outage("status=429,seconds=0.3") end },
  { 500, function(self) self:restart() end },
  { 800, function(self) self:restart("kill") end },
  { 1000, function(self) self.sandbox:outage("refuse=yes,seconds=0.3") end },
  { 1200, function(self) self.sandbox:outage("status=429,retry_after=1,seconds=0.3") end },
  { 1500, function(self) self:restart("kill") end },
  { 1700, function(self) self.sandbox:outage("status=503,seconds=0.1") end },
}

--- Starts a sandbox.
-- @tparam table options those of `process.sandbox`
-- @treturn table `orders`, `base_url` of a client, `login_url`, `ca_file`
function storm.start(options)
  local self = setmetatable({ options = {}, event = 1, logins = 0, began = core.now() }, Storm)
  for name, value in pairs(options) do self.options[name] = value end
  self.options.state = os.tmpname()
  self.options.token_lifetime = self.options.token_lifetime or LIFETIME
  self.sandbox = process.sandbox(self.options)
  self.options.port, self.options.brief = self.sandbox.port, true
  self.orders, self.ca_file = self.sandbox.orders, self.sandbox.ca_file
  self.login_url = self.sandbox.base_url
  self.base_url = self.login_url .. SLOW
  return self
end

--- Ends the sandbox, and starts another one that goes on with its state. Does not wait for that.
-- @tparam[opt] string how `"kill"`: as SIGKILL does
function Storm:restart(how)
  self.logins = self.logins + self.sandbox:record().logins
  if how then self.sandbox:kill() end
  self.sandbox:close()
  self.sandbox = process.begin(self.options)
end

--- Fails in the next way, if it is time. Returns whether all have passed.
-- @tparam number done how many orders are done
function Storm:pass(done)
  local event = EVENTS[self.event]
  if not event then return true end
  if done < event[1] * #self.orders / 2000 then return false end
  self.sandbox:await()
  event[2](self)
  self.event = self.event + 1
  return false
end

--- Returns how many orders the service has cancelled, for one who cannot know how many are done.
function Storm:executed()
  self.sandbox:await()
  local count = 0
  for _, entry in pairs(self.sandbox:record().cancels) do count = count + entry.executed end
  return count
end

--- Returns a token function that logs in, as often as it takes.
-- @treturn function
function Storm:tokens()
  local token
  return function(refused)
    while not token or token == refused do
      local result = core.login{
        username = "retailer", password = "retailer", timeout = 5,
        base_url = self.login_url, ca_file = self.ca_file,
      }
      if result then token = result.body.auth_token else core.sleep(0.02) end
    end
    return token
  end
end

--- Raises an error unless everything has happened, what became of each order agrees with the
-- record, and there was one login at most for each token that has expired.
-- @tparam table answers by index `{ outcome, status, sends }`
-- @treturn table counts by outcome
function Storm:check(answers)
  if EVENTS[self.event] then
    error(("expected %d failures, found %d"):format(#EVENTS, self.event - 1), 0)
  end
  self.sandbox:await()
  local record, seconds = self.sandbox:record(), core.now() - self.began
  local logins, lifetime = self.logins + record.logins, self.options.token_lifetime
  -- a token that was issued is used until it has expired
  if (logins - 1) * lifetime > seconds then
    error(("%d logins in %.1f s"):format(logins, seconds), 0)
  end
  return ledger.survives(self.orders, answers, record.cancels), logins
end

--- Ends the sandbox, and removes its files.
function Storm:close()
  self.sandbox:close()
  os.remove(self.options.state)
  os.remove(self.options.state .. ".ca.pem")
end

return storm
