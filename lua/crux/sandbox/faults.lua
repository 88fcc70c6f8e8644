--- Fault directives in the path of a request: `/~status=503,retry_after=2/orders/cancel/`.
-- They are in the path because a client of crux can only change its base URL.
--
-- | directive | |
-- |---|---|
-- | `status=N` | answer `N` and execute nothing |
-- | `execute=yes` | with `status`: execute first, then answer `N` all the same |
-- | `retry_after=S` | with `status`: add `Retry-After: S` |
-- | `body=html`, `empty`, `garbage` | with `status`: an HTML page, no body, or broken JSON |
-- | `location=no` | with a 3xx `status`: leave out the `Location` |
-- | `delay=MS` | wait before executing |
-- | `jitter=MS` | wait up to so long before executing; with `random`, where that does nothing |
-- | `delay_after=MS` | wait between executing and answering |
-- | `drop=before` | read the request, execute nothing, close without an answer |
-- | `drop=after` | execute, close without an answer |
-- | `close=yes` | answer, say `Connection: close` and do so |
-- | `times=N` | only the first `N` requests with exactly these directives are treated so |
-- | `id=WORD` | nothing; makes the directives differ from others, for `times` |
-- | `seconds=N` | in `/~outage/` alone: for how long |
-- | `refuse=yes` | in `/~outage/` alone, with `seconds`: refuse connections, and close all |
-- | `random=SEED` | a drop, 500 after executing, 503, 429 with `Retry-After: 0`, or a short delay |
-- | `rate=R` | with `random`: how often, 0 to 1; if left out, that of the constructor, or 0.2 |
-- @module crux.sandbox.faults

local faults = {}

local KNOWN = {
  status = "^%d%d%d$", execute = "^yes$", retry_after = "^%d+$", body = "^%l+$", location = "^no$",
  delay = "^%d+$", delay_after = "^%d+$", jitter = "^%d+$", drop = "^%l+$", refuse = "^yes$",
  close = "^yes$",
  times = "^%d+$", id = "^[%w_.-]+$",
  random = "^%d+$", rate = "^[%d.]+$", seconds = "^[%d.]+$",
}

local NUMBERS = {
  status = true, retry_after = true, delay = true, delay_after = true, jitter = true, times = true,
  random = true, rate = true, seconds = true,
}

--- Reads fault directives.
-- @tparam string text what stands between `~` and `/`
-- @treturn[1] table its values
-- @treturn[2] nil
-- @treturn[2] string what is wrong with it
function faults.parse(text)
  local fault = { text = text }
  for part in text:gmatch("[^,]+") do
    local name, value = part:match("^([%a_]+)=(.*)$")
    if not name or not KNOWN[name] then return nil, ("unknown fault %q"):format(part) end
    if not value:find(KNOWN[name]) then return nil, ("bad value in fault %q"):format(part) end
    fault[name] = NUMBERS[name] and tonumber(value) or value
  end
  return fault
end

-- 31 bits of a linear congruence: the same faults for the same seed under any Lua
local function generator(seed)
  local state = seed % 2147483647 + 1
  return function()
    state = state * 48271 % 2147483647
    return state / 2147483647
  end
end

local MIX = {
  function() return { drop = "before" } end,
  function() return { drop = "after" } end,
  function() return { status = 500, execute = "yes" } end,
  function() return { status = 503, body = "html" } end,
  function() return { status = 429, retry_after = 0 } end,
  function(draw) return { delay = math.floor(draw() * 20) } end,
}

-- What `jitter` comes to for one request.
local function jitter_of(fault, draw)
  return fault and fault.jitter and { delay = draw() * fault.jitter } or nil
end

--- What decides, for one server, which requests fail and how.
-- @tparam[opt] table options `random = { seed, rate }`: random faults of requests without
--   directives, and the rate of those with the directive `random`
-- @treturn function given parsed directives (or nil), returns the fault to inject, or nil
function faults.decider(options)
  local used, generators = {}, {}
  local default = options and options.random

  local function draw_for(seed)
    generators[seed] = generators[seed] or generator(seed)
    return generators[seed]
  end

  return function(fault)
    local seed, rate
    if fault then
      if fault.times then
        used[fault.text] = (used[fault.text] or 0) + 1
        if used[fault.text] > fault.times then return nil end
      end
      if not fault.random then return jitter_of(fault, draw_for(0)) or fault end
      seed, rate = fault.random, fault.rate or default and default.rate or 0.2
    elseif default then
      seed, rate = default.seed or 1, default.rate or 0.2
    else
      return nil
    end
    local draw = draw_for(seed)
    if draw() >= rate then return jitter_of(fault, draw) end
    return MIX[math.floor(draw() * #MIX) + 1](draw)
  end
end

return faults
