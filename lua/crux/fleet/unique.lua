--- Names that no other worker has: 96 random bits.
-- @module crux.fleet.unique
local core = require "crux.core"

local floor, format = math.floor, string.format

--- @treturn string
return function()
  local function part() return format("%08x", floor(core.random() * 2 ^ 32)) end
  return part() .. part() .. part()
end
