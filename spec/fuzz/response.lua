-- Writes the seeds of spec/fuzz/response.c, one for each rule, into a directory.
local responses = require "spec.support.responses"

local directory = assert(arg[1], "expected a directory")

for i, row in ipairs(responses) do
  local file = assert(io.open(("%s/%03d"):format(directory, i), "wb"))
  local pieces = #row.bytes < 1024 and i % 256 or 0
  file:write(string.char(pieces, row.max_body % 256, row.max_body // 256), row.bytes)
  file:close()
end
