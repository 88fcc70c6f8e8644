--- Options set by environment variables. They are read on the caller's thread at each call, since
-- libcurl would read some of them itself, later and on another thread. The variables are written
-- here and, for the documentation, in `crux.api`: a spec compares the two.
-- @module crux.environment
local next, pcall, select = next, pcall, select
local _G = _G

local environment = {}

-- The value of the first of these variables that is set and not empty, or nil.
local function first(getenv, ...)
  for i = 1, select("#", ...) do
    local value = getenv((select(i, ...)))
    if value and value ~= "" then return value end
  end
  return nil
end

local function read()
  local getenv = _G.os.getenv
  return {
    token = first(getenv, "CRUX_TOKEN"),
    username = first(getenv, "CRUX_USERNAME"),
    password = first(getenv, "CRUX_PASSWORD"),
    base_url = first(getenv, "CRUX_BASE_URL"),
    ca_file = first(getenv, "CRUX_CA_FILE"),
    proxy = first(getenv, "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
    no_proxy = first(getenv, "no_proxy", "NO_PROXY"),
  }
end

--- Returns the options that are set by environment variables. An empty variable counts as unset. A
-- host may have removed or replaced `os` or `os.getenv`, before or after this was loaded: if they
-- cannot be called, no option is set.
-- @treturn table `token`, `username`, `password`, `base_url`, `ca_file`, `proxy` and `no_proxy`,
--   where set
-- @see names
function environment.options()
  local ok, options = pcall(read)
  return ok and options or {}
end

--- For each of these options, the variable it comes from, for error messages.
-- @table names
environment.names = {
  token = "CRUX_TOKEN", username = "CRUX_USERNAME", password = "CRUX_PASSWORD",
  base_url = "CRUX_BASE_URL", ca_file = "CRUX_CA_FILE",
  proxy = "https_proxy or all_proxy", no_proxy = "no_proxy",
}

--- Returns whether these options say who calls.
-- @tparam table options
-- @treturn boolean
function environment.has_credentials(options)
  return options.token ~= nil or options.username ~= nil or options.password ~= nil
end

--- Returns those options of the environment that others leave out. A token sets a user aside, and a
-- user a token. A username without a password, or a password alone, is no user where there is a
-- token.
-- @tparam table env
-- @tparam table options
-- @treturn table
function environment.complement(env, options)
  local rest = {}
  for name, value in next, env do
    if options[name] == nil then rest[name] = value end
  end
  local has_user = options.username ~= nil or options.password ~= nil
  if has_user then rest.token = nil end
  local is_whole = rest.username ~= nil and rest.password ~= nil
  if options.token ~= nil or rest.token ~= nil and not is_whole then
    rest.username, rest.password = nil, nil
  end
  return rest
end

return environment
