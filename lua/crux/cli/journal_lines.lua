--- How the lines of a journal are written.
-- @module crux.cli.journal_lines
local cjson = require("cjson").new()

local lines = {}

-- How much is written at once while a journal is made, in bytes.
local PIECE = 65536

--- A line. Its kind comes first, so that people who read the file see it.
-- @tparam string kind
-- @tparam table fields
-- @treturn string with its newline
function lines.line(kind, fields)
  local object = cjson.encode(fields)
  return ('{"type":"%s"%s%s\n'):format(kind, object == "{}" and "" or ",", object:sub(2))
end

--- The line of an intent.
-- @tparam number index of the order
-- @tparam number time
-- @treturn string with its newline
function lines.intent(index, time)
  return ('{"type":"intent","index":%d,"time":%d}\n'):format(index, time)
end

-- An iterator over a list or a function's values.
local function each(orders)
  if type(orders) == "function" then return orders end
  local index = 0
  return function()
    index = index + 1
    return orders[index]
  end
end

--- Writes all that comes before the first run, and syncs it.
-- @tparam crux.os.file file
-- @tparam table header
-- @tparam table|function orders as for `crux.cli.journal.create`
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function lines.write_all(file, header, orders)
  local parts, size, count = { lines.line("journal", header) }, 0, 0
  local function flush()
    local ok, message = file:write(table.concat(parts))
    parts, size = {}, 0
    return ok, message
  end
  for arguments in each(orders) do
    count = count + 1
    local text = ('{"type":"order","index":%d,"arguments":%s}\n'):format(count,
      cjson.encode(arguments))
    parts[#parts + 1], size = text, size + #text
    if size >= PIECE then
      local ok, message = flush()
      if not ok then return nil, message end
    end
  end
  parts[#parts + 1] = lines.line("count", { orders = count })
  local ok, message = flush()
  if ok then ok, message = file:sync() end
  return ok, message
end

return lines
