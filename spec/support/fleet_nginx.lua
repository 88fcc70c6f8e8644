--- The configuration of examples/fleet: in each worker process of nginx a worker of the fleet, until
-- the process ends.
--
--     nginx.start{ http = fleet_nginx{ redis = url, rate = 2000 }, … }
-- @module spec.support.fleet_nginx
local files = require "spec.support.files"

-- @tparam table values `redis`: a URL; `rate`; `timeout`: of the calls, in seconds, 30 if left out
-- @treturn string what belongs into `http { }`
return function(values)
  local example = files.read("examples/fleet/nginx.conf")
  local text = assert(example:match("  init_worker_by_lua_block {\n.-\n  }\n"))
  local function replace(from, to)
    local first, last = text:find(from, 1, true)
    assert(first and not text:find(from, last, true), from)
    text = text:sub(1, first - 1) .. to .. text:sub(last + 1)
  end
  replace('os.getenv "CRUX_REDIS"', '"' .. values.redis .. '"')
  replace("rate = 20 }", ("rate = %g }"):format(values.rate))
  replace("timeout = 30 }", ("timeout = %g }"):format(values.timeout or 30))
  return text
end
