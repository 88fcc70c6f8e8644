--- Starts spec/bench/serverd.lua, for the benches.
-- @module spec.bench.server
local server = {}

local function lines_of(path)
  local file = io.open(path)
  if not file then return nil end
  local first, second = file:read("*l"), file:read("*l")
  file:close()
  return first, second
end

--- Starts a server.
-- @treturn table `plain` and `tls` (base URLs without a path), `ca_file`, `dir`, and `close()`,
--   which removes `dir`
function server.start()
  local made = assert(io.popen('mktemp -d "${TMPDIR:-/tmp}/crux-bench.XXXXXX"'))
  local dir = assert(made:read("*l"), "expected mktemp to make a directory")
  made:close()
  -- A thousand connections are more than the usual limit of descriptors.
  local command = "ulimit -n 4096; exec lua5.4 spec/bench/serverd.lua '%s'"
  local pipe = assert(io.popen(command:format(dir), "w"))
  local deadline = os.time() + 10
  local plain, tls
  repeat
    plain, tls = lines_of(dir .. "/ports")
    if not plain then os.execute("sleep 0.05") end
  until plain or os.time() > deadline
  if not plain then
    pipe:close()
    error("expected the bench server to start within 10 s")
  end
  return {
    plain = "http://127.0.0.1:" .. plain, tls = "https://127.0.0.1:" .. tls,
    ca_file = dir .. "/ca.pem", dir = dir,
    close = function() pipe:close() end,
  }
end

return server
