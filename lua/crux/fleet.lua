--- Many workers, on any number of machines, that cancel the orders of one queue in Redis. An order
-- is never sent twice, whoever is killed: a claim that ran out means that somebody has to look,
-- never that it is sent again. See docs/fleet.md for what that needs of Redis.
-- @module crux.fleet
-- @usage local Fleet = require "crux.fleet"
-- local fleet = assert(Fleet.new{ redis = "redis://127.0.0.1", client = client })
-- fleet:enqueue{ { order_uuid = uuid } }
-- local report, err = fleet:work{ until_empty = true }
local Redis = require "crux.fleet.redis"
local Worker = require "crux.fleet.worker"
local cache = require "crux.fleet.token_cache"
local core = require "crux.core"
local look = require "crux.fleet.look"
local scripts = require "crux.fleet.scripts"
local unique = require "crux.fleet.unique"

local cjson = require("cjson").new()

local error, format, ipairs, lower = error, string.format, ipairs, string.lower
local match, next, pcall, rawget = string.match, next, pcall, rawget
local setmetatable, sub, tonumber, tostring = setmetatable, string.sub, tonumber, tostring
local type = type

local Fleet = {}
Fleet.__index = Fleet

-- Orders that are added in one pipeline, and records that are read at once.
local CHUNK, PAGE = 500, 500
local OPTIONS = { redis = true, queue = true, client = true, timeout = true, ca_file = true }

local function invalid(field, message)
  local err = core.failure("invalid", field .. ": " .. message)
  err.field = field
  return nil, err
end

-- An error of Redis: nothing was sent because of it.
local function unreachable(why) return nil, core.failure("network", why) end

--- Makes a fleet. Nothing is connected yet.
-- @tparam table options `redis`: `redis://[[user]:password@]host[:port][/database]`, or
--   `rediss://`; `queue`: the name of the queue, `"orders"` if left out; `client`: from `crux.new`,
--   or `crux.resty.new` inside nginx; `timeout`: seconds for each exchange with Redis, 5 if left
--   out; `ca_file`: trust anchors for `rediss://`
-- @treturn[1] crux.fleet
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
function Fleet.new(options)
  if type(options) ~= "table" then
    error(format("expected a table of options, found a %s", type(options)), 2)
  end
  for name in next, options do
    if not OPTIONS[name] then return invalid(tostring(name), "there is no such option") end
  end
  local queue, client = options.queue, options.client
  if queue == nil then queue = "orders" end
  if type(queue) ~= "string" or not match(queue, "^[%w_.-]+$") then
    return invalid("queue", "expected a name of letters, digits, _, . and -, found another value")
  end
  if type(client) ~= "table" or type(client.clock) ~= "function" then
    return invalid("client", "expected a client, found a " .. type(client))
  end
  local redis, why = Redis.new(options.redis,
    { timeout = options.timeout, ca_file = options.ca_file })
  if not redis then return invalid("redis", why) end
  local function key(name) return "crux:" .. queue .. ":" .. name end
  return setmetatable({
    redis = redis, client = client, queue = queue,
    keys = { key "records", key "stream", key "counts", key "fences" },
    limit = { key "limit" }, permit = scripts.permit, service = key "service",
  }, Fleet)
end

--- Makes a `token_cache` for clients: the tokens of logins are kept in Redis, so that a fleet has
-- one login. Each use is a short exchange with Redis, which blocks for half a second at most.
-- @function Fleet.token_cache
-- @tparam table options `redis`, `ca_file`: as for `new`
-- @treturn[1] table cache with `get`, `set` and `add`
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
function Fleet.token_cache(options)
  local made, why = cache.new(options)
  if not made then return invalid("redis", why) end
  return made
end

--- The command of a script on the records.
-- @local
function Fleet:script(name, ...)
  return { script = scripts[name], keys = self.keys, ... }
end

--- Makes the stream and its group, and sees that the queue is for the service of this client.
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] table err
-- @local
function Fleet:open()
  local sample = "00000000-0000-0000-0000-000000000000"
  local dry, err = self.client:dry_run("cancel_order", { order_uuid = sample })
  if not dry then return nil, err end
  local replies, why = self.redis:pipeline{
    { "XGROUP", "CREATE", self.keys[2], "workers", "0", "MKSTREAM" },
    { "SETNX", self.service, dry.url }, { "GET", self.service },
  }
  if not replies then return unreachable(why) end
  for _, reply in ipairs(replies) do
    local text = type(reply) == "table" and reply.err
    if text and sub(text, 1, 9) ~= "BUSYGROUP" then
      return unreachable(self.redis.name .. ": " .. text)
    end
  end
  if replies[3] == dry.url then return true end
  return invalid("queue", format("expected orders for %s, found that the queue is for %s", dry.url,
    tostring(replies[3])))
end

-- --- adding orders ---

local FIELDS = { order_uuid = true, skus = true }

-- The text of an order's arguments, or nil and an error.
local function checked(self, item)
  if type(item) ~= "table" then
    return invalid("items", "expected a table of arguments, found a " .. type(item))
  end
  local dry, err = self.client:dry_run("cancel_order", item)
  if not dry then return nil, err end
  for name in next, item do
    if not FIELDS[name] then return invalid(name, "options belong to the workers' client") end
  end
  local skus = rawget(item, "skus")
  if skus == core.null then skus = nil end
  local ok, text = pcall(cjson.encode, { order_uuid = rawget(item, "order_uuid"), skus = skus })
  if not ok then return invalid("skus", "expected what JSON can hold, found another value") end
  return text
end

-- Adds orders in one pipeline.
local function add(self, commands, report)
  if #commands == 0 then return true end
  local replies, why = self.redis:pipeline(commands)
  if not replies then return unreachable(why) end
  for _, reply in ipairs(replies) do
    if reply == 1 then report.added = report.added + 1
    elseif reply == 0 then report.known = report.known + 1
    else return unreachable(self.redis.name .. ": " .. reply.err) end
  end
  return true
end

--- Adds orders to the queue. One that the queue has had before is not added again, whatever has
-- become of it. All of it may be repeated after an error: what was added is known then.
-- @tparam table|function items a list of arguments of `cancel_order`, or an iterator function
-- @treturn[1] table `added`, `known`: counts; `invalid`: a list of `{ index, item, err }`
-- @treturn[2] nil
-- @treturn[2] table err
-- @treturn[2] table the same, as far as it came
function Fleet:enqueue(items)
  if type(items) ~= "table" and type(items) ~= "function" then
    error("expected a list of orders or an iterator function, found a " .. type(items), 2)
  end
  local report, index, commands = { added = 0, known = 0, invalid = {} }, 0, {}
  local ok, err = self:open()
  if not ok then return nil, err, report end
  local id = unique()
  while true do
    index = index + 1
    local item
    if type(items) == "function" then item = items() else item = rawget(items, index) end
    if item == nil then break end
    local text, refusal = checked(self, item)
    if text then
      local order = lower(rawget(item, "order_uuid"))
      commands[#commands + 1] = self:script("enqueue", order, text, id .. ":" .. index)
    else
      report.invalid[#report.invalid + 1] = { index = index, item = item, err = refusal }
    end
    if #commands >= CHUNK then
      ok, err = add(self, commands, report)
      if not ok then return nil, err, report end
      commands = {}
    end
  end
  ok, err = add(self, commands, report)
  if not ok then return nil, err, report end
  return report
end

-- --- working ---

-- Returns nil and why the server may lose what it has confirmed.
local function durable(redis)
  local found = {}
  for _, name in ipairs{ "appendonly", "appendfsync", "maxmemory-policy" } do
    local reply, why = redis:call("CONFIG", "GET", name)
    if not reply then return nil, why .. ": CONFIG is needed, or `unsafe`" end
    found[name] = reply[2]
  end
  for name, expected in next, {
    appendonly = "yes", appendfsync = "always", ["maxmemory-policy"] = "noeviction",
  } do
    if found[name] ~= expected then
      return nil, format("%s: expected %s %s, found %s: orders could be sent twice", redis.name,
        name, expected, tostring(found[name]))
    end
  end
  return true
end

--- Sends the orders of the queue, until it is stopped. Inside nginx it suspends the light thread,
-- and ends with the worker process.
-- @tparam[opt] table options `concurrency`: 8; `rate`: calls per second of the whole fleet, and
--   `burst`; `until_empty`: ends once no order is left, of other workers neither; `on_result(index,
--   arguments, result, err)`; `stop_on`: as for a batch; `stopped()`: asked all the time, returns
--   nil, `"once"`: no more is started, or `"twice"`: what is in flight is aborted too; `patience`:
--   seconds to go on without Redis, 300; `unsafe`: do not ask the server whether it keeps what it
--   confirms
-- @treturn[1] table `counts` by outcome, of this worker; `queued_again`: how many orders were given
--   back; `stopped`, `stopped_by`: why it ended early, as of a batch, or `"redis"`;
--   `unrecorded`: how many outcomes could not be recorded: these orders become unknown
-- @treturn[2] nil
-- @treturn[2] table err
-- @raise what `on_result` raises, once all that was sent is recorded
function Fleet:work(options)
  options = options or {}
  local ok, err = self:open()
  if not ok then return nil, err end
  if not options.unsafe then
    local why
    ok, why = durable(self.redis)
    if not ok then return unreachable(why) end
  end
  return Worker.run(self, options)
end

-- --- reading ---

--- Calls a function for each record.
-- @tparam function visit gets the order's UUID and the record, or false if it is not readable
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] table err
-- @local
function Fleet:each(visit)
  local cursor, seen = "0", {}
  repeat
    local reply, why = self.redis:call("HSCAN", self.keys[1], cursor, "COUNT", PAGE)
    if not reply then return unreachable(why) end
    cursor = reply[1]
    for i = 1, #reply[2], 2 do
      local order = reply[2][i]
      local readable, record = pcall(cjson.decode, reply[2][i + 1])
      if not seen[order] then -- HSCAN may return one twice
        seen[order] = true
        visit(order, readable and type(record) == "table" and record)
      end
    end
  until cursor == "0"
  return true
end

local OUTCOMES = { queued = "not_started", sending = "unknown" }

--- Calls a function for each order of the queue, in no order.
-- @tparam function fn gets a table: `order_uuid`, `outcome` (`"not_started"` too), `state`
--   (`"queued"`, `"sending"` or the outcome), and where known `status`, `kind`, `message`, `hint`,
--   and `looked`: what `reconcile` found
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] table err
function Fleet:results(fn)
  return self:each(function(order, record)
    record = record or { state = "unknown", kind = "unreadable", message = "not readable" }
    fn{
      order_uuid = order, state = record.state, outcome = OUTCOMES[record.state] or record.state,
      status = record.status, kind = record.kind, message = record.message, hint = record.hint,
      looked = record.looked,
    }
  end)
end

--- Counts the orders of the queue.
-- @treturn[1] table `orders`: how many; `states`: counts by state; `looked`: counts of unknown
--   orders by what `reconcile` found; `left`: how many are queued or being sent
-- @treturn[2] nil
-- @treturn[2] table err
function Fleet:status()
  local replies, why = self.redis:pipeline{ { "HGETALL", self.keys[3] }, { "XLEN", self.keys[2] } }
  if not replies then return unreachable(why) end
  local pairs_of, left = replies[1], replies[2]
  if pairs_of.err then return unreachable(self.redis.name .. ": " .. pairs_of.err) end
  local status = {
    orders = 0, left = left, looked = { cancelled = 0, partial = 0, open = 0, closed = 0 },
    states = {
      queued = 0, sending = 0, accepted = 0, rejected = 0, not_sent = 0, unknown = 0,
    },
  }
  for i = 1, #pairs_of, 2 do
    local name, count = pairs_of[i], tonumber(pairs_of[i + 1])
    local seen = match(name, "^looked (.*)$")
    if seen then status.looked[seen] = count
    else
      status.states[name] = count
      status.orders = status.orders + count
    end
  end
  return status
end

--- Looks at the orders whose outcome is unknown: reads them, and records what they show, no sooner
-- than the time limit of a call and 10 s after each was claimed. Those found open are read again.
-- @tparam[opt] table options `concurrency`, `rate`; `stopped()`: as for `work`; `on_wait(seconds)`;
--   `on_result(order_uuid, shown, err)`: `shown` is what `crux.cancellation` returns
-- @treturn[1] table `looked`: counts by state; `failed`: how many could not be read; `stopped`
-- @treturn[2] nil
-- @treturn[2] table err
function Fleet:reconcile(options)
  local ok, err = self:open()
  if not ok then return nil, err end
  return look(self, options or {})
end

--- Removes the queue: orders, results, all. An order that a worker has not claimed by then is not
-- sent.
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] table err
function Fleet:purge()
  -- the next fence stays: a claim of before must never fit a record of after
  local reply, why = self.redis:call("DEL", self.keys[1], self.keys[2], self.keys[3], self.limit[1],
    self.service)
  if not reply then return unreachable(why) end
  return true
end

--- Closes the connection to Redis. The next method makes another.
function Fleet:close() self.redis:close() end

return Fleet
