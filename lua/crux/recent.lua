--- A table that keeps the last few keys, so that it does not grow with the number of calls.
-- @classmod crux.recent
local setmetatable = setmetatable

local Recent = {}
Recent.__index = Recent

--- Makes a table.
-- @tparam number size how many keys it keeps
function Recent.new(size)
  -- `keys`: a circular buffer; `place`: that of the last key
  return setmetatable({ values = {}, keys = {}, place = 0, size = size }, Recent)
end

--- Sets the value of a key. A new key takes the place of the oldest one.
-- @param key
-- @param value not nil
function Recent:set(key, value)
  if self.values[key] == nil then
    self.place = self.place % self.size + 1
    local oldest = self.keys[self.place]
    if oldest ~= nil then self.values[oldest] = nil end
    self.keys[self.place] = key
  end
  self.values[key] = value
end

--- Returns the value of a key, or nil.
function Recent:get(key) return self.values[key] end

return Recent
