--- A client without a network, for tests of one's own code: it answers by itself, by what the test
-- gives it. It has all methods of a client, and all functions of `crux` and `crux.resty`, so it can
-- stand in for either module too. Arguments are checked, and answers interpreted, by the code of a
-- real call. It starts no thread, and needs no nginx.
--
-- *Answers.* For each endpoint a list, of which each attempt takes the next one, or a function that
-- is called for each attempt. An answer is a table of `status`, and perhaps `headers` and `body`,
-- or the name of a fault: `"dns"`, `"connect"`, `"proxy"`, `"tls"`, `"timeout"`, `"network"` or
-- `"memory"` before the request is sent, `"timeout_sent"`, `"network_sent"` or `"protocol_sent"`
-- after it, and `"cut_body"`, a 200 with a body that is cut off. A body that is a table becomes
-- JSON. A call for which there is no answer raises an error, which ends the test: in `submit`,
-- `poll` and `batch` too. A retry for which a list has none is not made: the call ends with the
-- error at hand, whose message says so.
--
-- *Time.* The mock has a clock of its own. It moves on when a call would wait: by pauses, by the
-- `rate` of a batch, by the interval of `wait_cancelled`, by the `connect_timeout` with
-- `"timeout"`, and by the rest of a call's time with `"timeout_sent"`. None of this takes time. A
-- submitted call is done at its next `poll` or `step`, with all attempts and pauses.
--
-- *Environment.* It is not read, so that a test does not depend on it. Without credentials, a mock
-- has a token; and it has a proxy, for the fault of that name. With `username` and `password` it
-- logs in through `answers.login`.
-- @classmod crux.mock
-- @usage local mock = require "crux.mock".new{
--   answers = { get_order = { "connect", { status = 200, body = { uuid = uuid } } } },
-- }
-- print(mock:get_order{ order_uuid = uuid }.status, #mock.calls) --> 200 2
-- @see crux.client
local Client = require "crux.client"
local Pending = require "crux.pending"
local Scheduler = require "crux.scheduler"
local canned = require "crux.canned"
local cjson = require("cjson").new()
local core = require "crux.core"
local curl = require "crux.curl"

local error, format, ipairs = error, string.format, ipairs
local floor, huge, max = math.floor, math.huge, math.max
local next, rawequal, rawget, remove = next, rawequal, rawget, table.remove
local gsub, setmetatable, type = string.gsub, setmetatable, type

-- In place of the environment.
local ENVIRONMENT = { token = "mock-token-0123456789", proxy = "http://mock-proxy:3128" }
-- On the mock's clock.
local START = 1000

-- --- time ---

-- A world is what a mock and the clients made by its `new` share:
--
-- - `answers`: see `canned.answers`; `used`: how many were, by endpoint;
-- - `calls`: a list of the attempts; `made`: by request, its `name` and `args`;
-- - `time`; `epoch`: the seconds since 1970 when it was `START`;
-- - `later`: a list of { at =, request = }, the attempts that end at that time.

-- The place in `later` of what comes first, or nil. What was aborted or collected is removed.
local function first_later(world)
  local later, first = world.later, nil
  for place = #later, 1, -1 do
    local request = later[place].request
    if not request or not core.awaits_delivery(request) then remove(later, place) end
  end
  for place, entry in ipairs(later) do
    if not first or entry.at < later[first].at then first = place end
  end
  return first
end

local function pass_until(world, time)
  local first = first_later(world)
  while first and world.later[first].at <= time do
    local entry = remove(world.later, first)
    world.time = max(world.time, entry.at)
    if entry.request then core.deliver_canned(entry.request) end -- nil: it was collected just now
    first = first_later(world)
  end
  world.time = max(world.time, time)
end

-- --- answers ---

-- Tables are read raw, as C does it.
local function copy(value)
  if type(value) ~= "table" then return value end
  local copied = {}
  for name, item in next, value do copied[name] = copy(item) end
  return copied
end

local function record(world, request)
  local call, made = setmetatable(request:dry_run(), curl), world.made[request]
  if not made then -- a login that the client makes by itself
    made = { name = request:subject(), args = cjson.decode(call.body) }
    world.made[request] = made
  end
  call.name, call.args = made.name, made.args
  world.calls[#world.calls + 1] = call
  return call
end

local function next_of_list(world, name)
  local answers, used = world.answers[name], world.used[name] or 0
  if not answers then error(format("crux.mock: expected answers.%s, found none", name), 0) end
  if not answers[used + 1] then
    error(format("crux.mock: answers.%s has run out: expected an answer to request %d, found none",
      name, used + 1), 0)
  end
  world.used[name] = used + 1
  return answers[used + 1]
end

-- For an attempt whose deadline has passed: it is never made.
local NONE = {}

-- The answer to an attempt, which is recorded.
local function next_answer(world, request)
  local call = record(world, request)
  local answers = world.answers[call.name]
  if type(answers) ~= "function" then return next_of_list(world, call.name) end
  local answer, err = canned.answer(answers(call), format("answers.%s(call)", call.name))
  if not answer then error("crux.mock: " .. err.message, 0) end
  return answer
end

-- --- submitted calls: they end when somebody looks ---

local function subclass(class)
  local made = {}
  for name, method in next, class do made[name] = method end
  made.__index = made
  return made
end

local Submitted = subclass(Pending)

--- Lets the time pass until the call is done.
-- @local
function Submitted:look()
  if self:is_moved_in() then self:advance() else self:wait_at_most(huge) end
end

-- The class of the schedulers of a world. `step` has something to do as long as a call is in
-- flight, so the descriptor is readable.
local function scheduler_class(world)
  local Stepped = subclass(Scheduler)

  local function has_more(self)
    return not self:is_closed() and (self:timeout() or first_later(world))
  end

  local function remind(self) if has_more(self) then self:notify() end end

  --- As that of a scheduler, see there.
  -- @local
  function Stepped:start(...)
    local started, err = Scheduler.start(self, ...)
    remind(self)
    return started, err
  end

  --- As that of a scheduler, see there.
  -- @local
  function Stepped:sleep(seconds)
    Scheduler.sleep(self, seconds)
    remind(self)
  end

  --- As that of a scheduler, see there.
  -- @local
  function Stepped:await(request, seconds)
    Scheduler.await(self, request, seconds)
    remind(self)
  end

  --- Lets the time pass until a call is done.
  -- @local
  function Stepped:step()
    local pending = Scheduler.step(self)
    while not pending and has_more(self) do
      self:wait(huge)
      pending = Scheduler.step(self)
    end
    remind(self)
    return pending
  end

  return Stepped
end

-- --- the driver: see Client.make ---

local function new_driver(world)
  local driver = {}

  function driver.now() return world.time end

  function driver.time() return world.epoch + floor(world.time - START) end

  function driver.sleep(seconds) pass_until(world, world.time + seconds) end

  function driver.await(what, seconds)
    if what:wait(0) then return end
    local first, time = first_later(world), world.time + seconds
    if first and world.later[first].at <= time then time = world.later[first].at end
    if time == huge then error("crux.mock: expected something to wait for, found nothing", 0) end
    pass_until(world, time)
  end

  function driver.may_retry(request, err)
    local name = request:subject()
    local answers = world.answers[name]
    if type(answers) == "function" or answers[(world.used[name] or 0) + 1] then return true end
    err.message = format("%s; answers.%s has run out, so there is no retry", err.message, name)
    return false
  end

  function driver.send(request, token, deadline)
    local answer = deadline > world.time and next_answer(world, request) or NONE
    local result, err = core.perform_canned(request, token, deadline - world.time,
      answer.received, answer.fault)
    pass_until(world, world.time + (result or err).meta.time.total)
    return result, err
  end

  function driver.start(request, token, deadline, number)
    local answer = deadline > world.time and next_answer(world, request) or NONE
    local started, rest = core.start_canned(request, token, deadline - world.time, number,
      answer.received, answer.fault)
    if started and rest then
      world.later[#world.later + 1] = setmetatable({
        at = world.time + rest, request = request,
      }, { __mode = "v" })
    end
    return started, rest
  end

  driver.pending, driver.scheduler = Submitted, scheduler_class(world)
  return driver
end

-- --- the mock ---

local Mock = subclass(Client)
Mock.__name = "crux.mock"

function Mock:__tostring() return (gsub(Client.__tostring(self), "^crux%.client", "crux.mock")) end

-- What `crux` and `crux.resty` have beside the calls.
local MODULE = {
  _VERSION = core._VERSION, SANDBOX = core.SANDBOX, PRODUCTION = core.PRODUCTION,
  null = core.null, assert = require "crux.assert", cancellation = require "crux.cancellation",
}

-- Raises at a level if the options are no table, or the object whose `new` it is.
local function check_options(options, object, name, level)
  if rawequal(options, object) then
    error(format("expected %s.new{...}, found %s:new{...}: write a dot", name, name), level)
  end
  if options ~= nil and type(options) ~= "table" then
    error("expected a table of options, found a " .. type(options), level)
  end
  return options or {}
end

local function new_client(world, options)
  local known = {}
  for name, value in next, options do known[name] = value end
  local self, err = Client.make(known, ENVIRONMENT, world.driver)
  if not self then return nil, err end
  self.calls = world.calls
  -- what each call begins with
  function self.request(_, name, arguments)
    local request, deadline, has_options = Client.request(self, name, arguments)
    if request then
      world.made[request] = { name = name, args = copy(arguments) }
    end
    return request, deadline, has_options
  end
  for name, value in next, MODULE do self[name] = value end
  -- of a client, and of a module: with a colon or a dot
  for _, name in ipairs(core.endpoints) do
    self[name] = function(first, second)
      local arguments = first
      if rawequal(first, self) then arguments = second end
      local result, failure = Client.perform(self, name, arguments, 2)
      return result, failure
    end
  end
  self.new = function(more)
    local client, why = new_client(world, check_options(more, self, "crux", 3))
    return client, why
  end
  return setmetatable(self, Mock)
end

local mock = {}

--- Makes a mock.
--
-- Of the mock, `calls` is a list of its attempts, in order. Each is a dry run (`method`, `url`,
-- `headers`, `body`; its `tostring` is a command of curl's) with the `name` of the endpoint and
-- `args`, a copy of the arguments as they were passed. A function among the `answers` is called
-- with the same table. The mock's `new` makes a further client that shares its answers, calls and
-- clock, with options of its own: so a mock can stand in for the module.
-- @tparam[opt] table options those of a client, and `answers`
-- @treturn[1] crux.mock
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
-- @raise if `options` is given and not a table
-- @usage package.loaded.crux = require "crux.mock".new{ answers = {
--   cancel_order = function(call) return { status = call.args.skus and 204 or 409 } end,
-- } }
function mock.new(options)
  local known = {}
  for name, value in next, check_options(options, mock, "mock", 3) do known[name] = value end
  local answers, err = canned.answers(rawget(known, "answers"))
  if not answers then return nil, err end
  known.answers = nil
  local world = {
    answers = answers, used = {}, calls = {}, made = setmetatable({}, { __mode = "k" }),
    time = START, epoch = core.time(), later = {},
  }
  world.driver = new_driver(world)
  local self
  self, err = new_client(world, known)
  return self, err
end

return mock
