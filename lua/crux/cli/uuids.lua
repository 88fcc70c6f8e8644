--- Finds the UUIDs that come more than once among very many, at about 20 bytes each: they are
-- packed into a few long strings, and compared in parts. A table would take 100 bytes each.
-- @module crux.cli.uuids
local uuids = {}

local BUCKETS = 256
-- So many are collected before they are packed.
local COLLECTED = 8192
local SIZE = 16

local BYTES = {}
for i = 0, 255 do BYTES[("%02x"):format(i)] = string.char(i) end

--- A UUID of either case as 16 bytes.
-- @tparam string uuid
-- @treturn string
function uuids.key(uuid)
  return (uuid:lower():gsub("-", ""):gsub("%x%x", BYTES))
end

--- @treturn table for `uuids.add` and `uuids.repeated`
function uuids.new()
  local self = { buckets = {}, collected = {}, count = 0 }
  for i = 1, BUCKETS do self.buckets[i] = {} end
  return self
end

-- UUIDs may be numbered at any place: all bytes decide.
local function bucket_of(key)
  local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p = key:byte(1, SIZE)
  return (a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p) % BUCKETS + 1
end

local function pack(self)
  local parts = {}
  for i = 1, self.count do
    local key = self.collected[i]
    local number = bucket_of(key)
    local list = parts[number]
    if list then list[#list + 1] = key else parts[number] = { key } end
  end
  for number, list in pairs(parts) do
    local bucket = self.buckets[number]
    bucket[#bucket + 1] = table.concat(list)
  end
  self.count = 0
end

--- Adds a key.
function uuids.add(self, key)
  self.count = self.count + 1
  self.collected[self.count] = key
  if self.count == COLLECTED then pack(self) end
end

--- Finds the keys that were added more than once.
-- @treturn table set of them
-- @treturn number how many different keys there are
function uuids.repeated(self)
  pack(self)
  local found, different = {}, 0
  for _, bucket in ipairs(self.buckets) do
    local seen = {}
    for _, packed in ipairs(bucket) do
      for from = 1, #packed, SIZE do
        local key = packed:sub(from, from + SIZE - 1)
        if seen[key] then
          found[key] = true
        else
          seen[key], different = true, different + 1
        end
      end
    end
  end
  return found, different
end

return uuids
