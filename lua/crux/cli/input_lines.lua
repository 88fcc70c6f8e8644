--- Lines of a file, with their numbers. `file:read` of Lua 5.1 would end a line at a NUL byte.
-- @module crux.cli.input_lines
local BLOCK = 65536

--- Iterates over the lines of a file; a byte order mark in front is left out.
-- @param file with `read`
-- @treturn function at each call: a line without its newline, and its number; nil at the end; nil
--   and a message after a failure
return function(file)
  local buffer, position, number, ended, failure = "", 1, 0, false, nil
  local function fill()
    local block, why = file:read(BLOCK)
    if why then failure = why end
    if not block then
      ended = true
      return
    end
    buffer, position = buffer:sub(position) .. block, 1
    if number == 0 and buffer:sub(1, 3) == "\239\187\191" then position = 4 end
  end
  return function()
    local stop = buffer:find("\n", position, true)
    while not stop and not ended do
      local searched = #buffer - position + 1
      fill()
      stop = buffer:find("\n", position + math.max(searched, 0), true)
    end
    if failure then return nil, failure end
    if not stop and position > #buffer then return nil end
    number = number + 1
    local line = buffer:sub(position, (stop or #buffer + 1) - 1)
    position = (stop or #buffer) + 1
    return line, number
  end
end
