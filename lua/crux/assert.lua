--- `crux.assert`: an `assert` for the errors of crux. Lua 5.1's own `assert` and nginx's log do not
-- print an error that is a table.
-- @module crux.assert
local error, tostring = error, tostring

--- Returns its arguments, or raises `tostring(err)`: a string, without a position.
-- @function crux.assert
-- @param result what a call returned
-- @param[opt] err what it returned as a second value
-- @param[opt] ... further values
-- @return all arguments
-- @raise if `result` is nil or false
-- @usage local order = crux.assert(client:get_order{ order_uuid = uuid }).body
return function(...)
  local result, err = ...
  if not result then error(err == nil and "assertion failed!" or tostring(err), 0) end
  return ...
end
