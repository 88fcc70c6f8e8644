--- `crux.assert`: Lua 5.1's `assert` and nginx's log print no error object.
-- @module crux.assert
local error, tostring = error, tostring

--- Returns its arguments, or raises `tostring(err)`, a string without a position.
-- @function crux.assert
-- @param result what a call returned
-- @param err
-- @return all arguments, as they are
-- @raise if `result` is nil or false
-- @usage local order = crux.assert(client:get_order{ order_uuid = uuid }).body
return function(result, err, ...)
  if not result then error(err == nil and "assertion failed!" or tostring(err), 0) end
  return result, err, ...
end
