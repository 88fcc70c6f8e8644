--- What a worker exchanges with Redis. Outcomes and claims whose replies did not come are kept, and
-- sent again: nothing is lost while Redis is away.
-- @classmod crux.fleet.link
local unique = require "crux.fleet.unique"

local huge, ipairs, max, min = math.huge, ipairs, math.max, math.min
local setmetatable, sub, type = setmetatable, string.sub, type

local Link = {}
Link.__index = Link

-- Pauses between two tries to reach Redis, in seconds.
local FIRST_TRY, LAST_TRY = 0.05, 1
-- How often an order is queued again, at most.
local TRIES = 10
-- How many entries another worker may leave behind that are taken at once.
local TAKEN = 100
-- The name under which entries are pending that a worker has given back.
local GIVEN_BACK = "given-back"

--- Makes a link.
-- @tparam crux.fleet fleet
-- @tparam number limit seconds that a call takes at most
-- @tparam number lease seconds after which another worker may take an entry
-- @tparam table options of `Fleet:work`
function Link.new(fleet, limit, lease, options)
  return setmetatable({
    fleet = fleet, redis = fleet.redis, limit = limit, lease = lease, now = fleet.client:clock(),
    rate = options.rate or 0,
    burst = options.burst or max(1, (options.rate or 0) / 10),
    worker = unique(), last = 0, -- the last number of a claim or permit
    finishes = {},     -- commands that tell outcomes
    since = 0,         -- when the first of them was added
    told_at = 0,       -- the last exchange
    claims = nil,      -- commands whose replies did not come, and when they were first sent
    entries = {},      -- that were read, and are not claimed yet
    known = {},        -- the set of entries that were read, or are being sent
    permits = 0, permits_asked = nil,
    opens = 0,         -- when there are permits again
    pause = 0,         -- of all workers, in milliseconds, that is not told yet
    takes_at = 0,      -- when to take what other workers have left behind
    failed_at = false, retry_at = 0, retry = FIRST_TRY, -- without Redis
    why = nil,
    connections = -1,  -- as the client counts them, when all its own entries were last read
    left = nil,        -- entries in the stream
  }, Link)
end

function Link:number()
  self.last = self.last + 1
  return self.worker .. ":" .. self.last
end

-- --- without Redis ---

local function lose(self, why)
  local now = self.now()
  self.failed_at = self.failed_at or now
  self.retry_at, self.retry, self.why = now + self.retry, min(2 * self.retry, LAST_TRY), why
  self.connections = -1 -- entries may be this worker's whose replies it has not seen
  return false
end

--- How long Redis has been away, in seconds.
function Link:away() return self.failed_at and self.now() - self.failed_at or 0 end

-- Sends commands. Returns their replies, or false. An error reply of one counts as a failure of
-- all: each may be repeated.
local function exchange(self, commands)
  local replies, why = self.redis:pipeline(commands)
  if not replies then return lose(self, why) end
  for _, reply in ipairs(replies) do
    if type(reply) == "table" and reply.err then
      if sub(reply.err, 1, 7) == "NOGROUP" then self.fleet:open() end -- purged
      return lose(self, self.redis.name .. ": " .. reply.err)
    end
  end
  self.failed_at, self.retry = false, FIRST_TRY
  return replies
end

-- --- entries ---

local function keep(self, entries)
  for _, found in ipairs(entries) do
    local entry, fields = found[1], found[2]
    if fields and not self.known[entry] then -- else it is deleted, or at hand
      local order = ""
      for i = 1, #fields, 2 do
        if fields[i] == "order" then order = fields[i + 1] end
      end
      self.known[entry] = true
      self.entries[#self.entries + 1] = { entry = entry, order = order, at = self.now() }
    end
  end
end

-- An entry that has waited here too long may be another worker's by now.
local function drop_old(self)
  local oldest = self.now() - self.lease / 2
  local kept = {}
  for _, found in ipairs(self.entries) do
    if found.at >= oldest then kept[#kept + 1] = found else self.known[found.entry] = nil end
  end
  self.entries = kept
end

-- Commands that read entries: new ones, or after a lost reply all that are this worker's, and those
-- that were left behind.
local function reads(self, count)
  local stream, name, list = self.fleet.keys[2], self.worker, {}
  local is_new = self.connections == self.redis.connections
  if count > #self.entries then
    list[1] = { "XREADGROUP", "GROUP", "workers", name, "COUNT", is_new and count - #self.entries
      or 10000, "STREAMS", stream, is_new and ">" or "0" }
  end
  if self.now() >= self.takes_at then
    self.takes_at = self.now() + min(max(self.lease / 8, 0.5), 30)
    list[#list + 1] = { "XAUTOCLAIM", stream, "workers", name, self.lease * 1000, "0-0", "COUNT",
      TAKEN }
  end
  return list
end

-- --- one exchange ---

--- Tells outcomes, asks for permits, and reads entries, in one pipeline.
-- @tparam number free how many calls could start
-- @tparam number ahead how many entries to hold, beside those
-- @treturn boolean whether Redis answered
function Link:refresh(free, ahead)
  if self.now() < self.retry_at and self.failed_at then return false end
  self.told_at = self.now()
  drop_old(self)
  local commands, finishes = {}, self.finishes
  for i, command in ipairs(finishes) do commands[i] = command end
  local told = #commands
  local wanted = self.now() >= self.opens and min(free, #self.entries) - self.permits or 0
  if wanted > 0 or self.pause > 0 or self.permits_asked then
    -- after a lost reply the same again
    self.permits_asked = self.permits_asked or {
      script = self.fleet.permit, keys = self.fleet.limit, self.worker, self:number(),
      max(wanted, 0), self.rate, self.burst, self.pause,
    }
    commands[#commands + 1] = self.permits_asked
  end
  local reading, connections = reads(self, free > 0 and free + ahead or 0), self.redis.connections
  local first_read = #commands
  for _, command in ipairs(reading) do commands[#commands + 1] = command end
  commands[#commands + 1] = { "XLEN", self.fleet.keys[2] }
  local replies = exchange(self, commands)
  if not replies then return false end
  -- on_result may have added more meanwhile
  local rest = {}
  for i = told + 1, #finishes do rest[#rest + 1] = finishes[i] end
  self.finishes = rest
  if self.permits_asked then
    local reply = replies[first_read]
    self.permits = self.permits + reply[1]
    if reply[2] > 0 then self.opens = self.now() + reply[2] / 1000 end
    if self.permits_asked[6] == self.pause then self.pause = 0 end
    self.permits_asked = nil
  end
  for i, command in ipairs(reading) do
    local reply = replies[first_read + i]
    if command[1] == "XAUTOCLAIM" then keep(self, reply[2])
    elseif reply then keep(self, reply[1][2]) end
    if command[#command] == "0" then self.connections = connections end -- all of its own
  end
  self.left = replies[#replies]
  return true
end

--- Whether there are entries for which permits can be asked for now.
-- @tparam number free how many calls could start
function Link:lacks(free)
  return not self.failed_at and self.now() >= self.opens
    and self.permits < min(free, #self.entries)
end

--- Claims entries for which there are permits, in one pipeline.
-- @tparam number free how many calls could start
-- @treturn table a list of `order`, `entry`, `fence`, `text` (the arguments), `at`: when it was
--   claimed, and `latest`: until when its request may be sent
function Link:claim(free)
  local granted = {}
  if self.now() < self.retry_at and self.failed_at then return granted end
  local claims = self.claims
  if not claims then
    local count = min(free, self.permits, #self.entries)
    if count <= 0 then return granted end
    claims = { at = self.now() }
    for i = 1, count do
      local found = self.entries[i]
      claims[i] = self.fleet:script("claim", found.entry, found.order, self:number(),
        self.lease * 1000)
    end
    local rest = {}
    for i = count + 1, #self.entries do rest[#rest + 1] = self.entries[i] end
    self.entries, self.permits, self.claims = rest, self.permits - count, claims
  end
  local replies = exchange(self, claims)
  if not replies then return granted end
  self.claims = nil
  for i, reply in ipairs(replies) do
    local entry, order = claims[i][1], claims[i][2]
    if reply[1] == "go" then
      granted[#granted + 1] = {
        order = order, entry = entry, fence = reply[2], text = reply[3],
        at = claims.at, latest = claims.at + self.limit,
      }
    else self.known[entry] = nil end
  end
  return granted
end

--- Tells what became of a claimed order, with the next exchange.
-- @tparam table claim
-- @tparam string outcome `"queue"` and `"return"` too; see `crux.fleet.scripts`
-- @tparam string detail JSON
function Link:finish(claim, outcome, detail)
  self.known[claim.entry] = nil
  if not self.finishes[1] then self.since = self.now() end
  self.finishes[#self.finishes + 1] = self.fleet:script("finish", claim.order, claim.fence, outcome,
    detail, TRIES, claim.entry)
end

--- Has all workers pause.
-- @tparam number seconds
function Link:pause_all(seconds)
  self.pause = max(self.pause, seconds * 1000)
  self.opens = max(self.opens, self.now() + seconds)
end

-- Gives entries back, and removes what Redis has under this worker's name.
local function leave(self, entries)
  if self.failed_at and not entries[1] then return end
  local commands = {}
  if entries[1] then -- as if they had waited long enough for another worker to take them
    local back = { "XCLAIM", self.fleet.keys[2], "workers", GIVEN_BACK, 0 }
    for _, found in ipairs(entries) do back[#back + 1] = found.entry end
    for _, word in ipairs{ "IDLE", self.lease * 1000, "JUSTID" } do back[#back + 1] = word end
    commands[1] = back
  end
  commands[#commands + 1] = self.fleet:script("leave", self.worker)
  commands[#commands + 1] = { "HDEL", self.fleet.limit[1], "worker " .. self.worker }
  self.redis:pipeline(commands)
end

--- Gives back what was read and not claimed, and tells the rest.
-- @tparam number patience seconds
-- @treturn number how many outcomes could not be told
function Link:close(patience)
  local deadline, driver = self.now() + patience, self.fleet.client:driver()
  local entries = self.entries
  self.entries, self.permits, self.takes_at = {}, 0, huge
  while self.claims or self.finishes[1] or self.pause > 0 do
    -- a claim whose reply was lost may have been granted: it is given back
    for _, claim in ipairs(self:claim(0)) do self:finish(claim, "return", "{}") end
    if not self.claims and self:refresh(0, 0) and not self.finishes[1] and self.pause == 0 then
      break
    end
    if self.now() >= deadline then break end
    driver.sleep(FIRST_TRY)
  end
  leave(self, entries)
  return #self.finishes + (self.claims and #self.claims or 0)
end

return Link
