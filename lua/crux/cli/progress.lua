--- How far a run is, on stderr: a bar on a terminal, else a line every ten seconds.
-- @module crux.cli.progress
local core = require "crux.core"
local system = require "crux.os"

local Progress = {}
Progress.__index = Progress

-- Seconds between two pictures of the bar, and between two lines.
local REDRAW, LINE = 0.1, 10
local DEFAULT_WIDTH = 80
local LEAST_BAR, MOST_BAR = 10, 40

local OUTCOMES = {
  "accepted", "rejected", "not_sent", "unknown", "cancelled", "partial", "open", "closed",
}

local function duration(seconds)
  seconds = math.floor(seconds + 0.5)
  local hours, minutes = math.floor(seconds / 3600), math.floor(seconds / 60) % 60
  if hours > 0 then return ("%d:%02d:%02d"):format(hours, minutes, seconds % 60) end
  return ("%d:%02d"):format(minutes, seconds % 60)
end

local function counted(counts)
  local parts = {}
  for _, name in ipairs(OUTCOMES) do
    if (counts[name] or 0) > 0 then parts[#parts + 1] = ("%d %s"):format(counts[name], name) end
  end
  return table.concat(parts, ", ")
end

-- Parts of the text: how many of how many, the rate, the time left.
local function parts_of(self, now)
  local elapsed = math.max(now - self.began, 1e-3)
  local rate = self.done / elapsed
  local parts = { ("%d/%d"):format(self.done, self.total), ("%.1f/s"):format(rate) }
  if rate > 0 and self.done < self.total then
    parts[#parts + 1] = duration((self.total - self.done) / rate) .. " left"
  end
  return parts
end

-- One line of at most `width` columns. The last column stays empty: some terminals would wrap.
local function picture(self, now, width)
  local room = width - 1
  local text = table.concat(parts_of(self, now), "  ")
  local counts = counted(self.counts)
  if counts ~= "" and #text + 2 + #counts <= room then text = text .. "  " .. counts end
  local bar = math.min(room - #text - 4, MOST_BAR)
  if bar >= LEAST_BAR then
    local full = math.floor(bar * self.done / math.max(self.total, 1))
    text = "[" .. ("#"):rep(full) .. ("-"):rep(bar - full) .. "]  " .. text
  end
  return text:sub(1, math.max(room, 0))
end

local function draw(self, now)
  self.drawn_at, self.is_drawn = now, true
  self.stderr:write("\r\27[K", picture(self, now, system.width(2) or DEFAULT_WIDTH))
  self.stderr:flush()
end

local function say(self, now)
  self.drawn_at = now
  local text = table.concat(parts_of(self, now), ", ")
  local counts = counted(self.counts)
  self.stderr:write("crux: ", text, counts ~= "" and ": " .. counts or "", "\n")
  self.stderr:flush()
end

--- Shows the state again, if that is due. To be called from time to time.
function Progress:tick()
  if self.is_quiet then return end
  local now = core.now()
  if now - self.drawn_at < (self.is_live and REDRAW or LINE) then return end
  if self.is_live then draw(self, now) else say(self, now) end
end

--- Takes in how far the run is.
-- @tparam number done
-- @tparam number total
-- @tparam table counts by outcome
function Progress:update(done, total, counts)
  self.done, self.total, self.counts = done, total, counts
  self:tick()
end

--- Removes the bar, before something else is printed.
function Progress:clear()
  if not self.is_drawn then return end
  self.is_drawn, self.drawn_at = false, 0
  self.stderr:write("\r\27[K")
  self.stderr:flush()
end

--- @tparam table out the command's output, which removes the bar before it prints
-- @tparam number total
-- @treturn table
return function(out, total)
  local now = core.now()
  local self = setmetatable({
    stderr = out.stderr, is_quiet = out.quiet, is_live = out.live, total = total, done = 0,
    counts = {}, began = now, drawn_at = out.live and 0 or now, is_drawn = false,
  }, Progress)
  out.before = function() self:clear() end
  return self
end
