--- What the environment says, read on the caller's thread: libcurl would ask it on its own, in the
-- middle of a call.
-- @module crux.environment
local pcall, select = pcall, select
local _G = _G

local environment = {}

local function get_getenv() return _G.os.getenv end

local function first(getenv, ...)
  for i = 1, select("#", ...) do
    local value = getenv((select(i, ...)))
    if value and value ~= "" then return value end
  end
  return nil
end

--- The options that the environment sets. Hosts that run others' scripts may take `os` or
-- `os.getenv` away, before or after this is loaded: then it sets none.
-- @treturn table `token`, `base_url`, `ca_file`, `proxy` and `no_proxy`, where set
function environment.options()
  local ok, getenv = pcall(get_getenv)
  if not ok or not getenv then return {} end
  return {
    token = first(getenv, "CRUX_TOKEN"),
    base_url = first(getenv, "CRUX_BASE_URL"),
    ca_file = first(getenv, "CRUX_CA_FILE"),
    proxy = first(getenv, "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
    no_proxy = first(getenv, "no_proxy", "NO_PROXY"),
  }
end

--- The variable that an option came from, for messages.
environment.names = {
  token = "CRUX_TOKEN", base_url = "CRUX_BASE_URL", ca_file = "CRUX_CA_FILE",
  proxy = "https_proxy or all_proxy", no_proxy = "no_proxy",
}

return environment
