--- A `token_cache` over Redis: the tokens of logins, for all workers of a fleet.
-- @module crux.fleet.token_cache
local Redis = require "crux.fleet.redis"

local error, floor, max, setmetatable = error, math.floor, math.max, setmetatable

local Cache = {}
Cache.__index = Cache

-- A cache must not block for long; an error counts as an empty cache.
local TIMEOUT = 0.5

-- An error reply is raised: the session takes that for an empty cache.
local function ask(self, ...)
  local reply, why = self.redis:call(...)
  if reply == nil then error(why, 0) end
  return reply
end

local function milliseconds(seconds) return max(1, floor(seconds * 1000)) end

function Cache:get(key) return ask(self, "GET", key) or nil end

function Cache:set(key, value, seconds)
  return ask(self, "SET", key, value, "PX", milliseconds(seconds)) == "OK"
end

function Cache:add(key, value, seconds)
  if ask(self, "SET", key, value, "PX", milliseconds(seconds), "NX") then return true end
  return false, "exists"
end

local token_cache = {}

--- @tparam table options `redis`, `ca_file`: see `crux.fleet`
-- @treturn[1] table cache
-- @treturn[2] nil
-- @treturn[2] string message
function token_cache.new(options)
  local redis, why = Redis.new(options.redis, { timeout = TIMEOUT, ca_file = options.ca_file })
  if not redis then return nil, why end
  return setmetatable({ redis = redis }, Cache)
end

return token_cache
