--- The error for a 2xx whose body is not what the endpoint promises. The request was sent, so its
-- outcome is `unknown`.
-- @module crux.unreadable
local core = require "crux.core"

--- @tparam string name the endpoint's
-- @tparam string what was expected
-- @tparam table result
-- @treturn table err of kind `protocol`
-- @local
return function(name, what, result)
  local why = result.meta.body_error
  local found = why or "another body"
  local err = core.failure("protocol", name .. ": expected " .. what .. ", found " .. found)
  err.outcome, err.status, err.meta = "unknown", result.status, result.meta
  err.headers, err.raw, err.body = result.headers, result.raw, result.body
  return err
end
