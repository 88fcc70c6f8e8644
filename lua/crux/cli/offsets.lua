--- The lines of a file by their offsets, read in blocks: neighbouring lines cost one system call.
-- @module crux.cli.offsets
local find, setmetatable, sub = string.find, setmetatable, string.sub

local Offsets = {}
Offsets.__index = Offsets

local BLOCK = 65536

--- Makes a reader of a file.
-- @tparam crux.os.file file
function Offsets.new(file)
  return setmetatable({ file = file, block = "", first = 0 }, Offsets)
end

--- Reads a line.
-- @tparam number offset where it begins
-- @treturn[1] string the line without its newline
-- @treturn[1] number offset of the next line
-- @treturn[2] nil no newline follows
-- @treturn[2] ?string what a failed read said
function Offsets:at(offset)
  local from = offset - self.first
  local stop = from >= 0 and from < #self.block and find(self.block, "\n", from + 1, true)
  local count = BLOCK
  while not stop do
    local block, message = self.file:read(offset, count)
    if not block then return nil, message end
    self.block, self.first, from = block, offset, 0
    stop = find(block, "\n", 1, true)
    if not stop and #block < count then return nil end
    count = 2 * count
  end
  return sub(self.block, from + 1, stop - 1), self.first + stop
end

return Offsets
