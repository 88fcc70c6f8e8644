--- Calls of the user's own functions: what they raise, and what of it may be shown.
-- @module crux.callback
local error, find, match, pcall, tostring = error, string.find, string.match, pcall, tostring
local type = type

local callback = {}

--- Raises again what was raised, if it is the interpreter's Ctrl-C: `lua` and `luajit` then raise a
-- string with `interrupted!` at the end, after a position. It is never the error of a function.
-- @param why what was raised
-- @raise `why`
function callback.pass_interrupt(why)
  if type(why) == "string" and find(why .. "\n", "interrupted!\n", 1, true) then error(why, 0) end
end

--- Returns what was raised as text, which may hold secrets.
-- @param why anything
-- @treturn string
-- @raise the interpreter's Ctrl-C, in a metamethod
function callback.text(why)
  if type(why) == "string" then return why end
  local ok, text = pcall(tostring, why)
  if not ok then callback.pass_interrupt(text)
  elseif type(text) == "string" and not match(text, "^[%a_.]+: 0?x?%x+$") then return text end
  return "an error that is a " .. type(why)
end

return callback
