--- What the environment says, read on the caller's thread: libcurl would ask it on its own, in the middle of a call.
-- @module crux.environment
local environment = {}

local function get(name)
  local value = os.getenv(name)
  if value ~= "" then return value end
  return nil
end

local function first(...)
  for i = 1, select("#", ...) do
    local value = get((select(i, ...)))
    if value then return value end
  end
  return nil
end

--- The options that the environment sets.
-- @treturn table `token`, `base_url`, `ca_file`, `proxy` and `no_proxy`, where set
function environment.options()
  return {
    token = get "CRUX_TOKEN",
    base_url = get "CRUX_BASE_URL",
    ca_file = get "CRUX_CA_FILE",
    proxy = first("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
    no_proxy = first("no_proxy", "NO_PROXY"),
  }
end

--- The variable that an option came from, for messages.
environment.names = {
  token = "CRUX_TOKEN", base_url = "CRUX_BASE_URL", ca_file = "CRUX_CA_FILE",
  proxy = "https_proxy or all_proxy", no_proxy = "no_proxy",
}

return environment
