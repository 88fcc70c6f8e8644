--- The library's words about an error, for the command: its hints name functions and options, here
-- they are commands.
-- @module crux.cli.words
local words = {}

local COMMANDS = {
  { "client:orders", "crux list" }, { "list_orders", "crux list" }, { "get_order", "crux get" },
  { "log in again", "log in again with crux login" }, { "base_url", "--base-url" },
  { "ca_file", "--ca-file" },
}

--- The error as one line.
-- @tparam crux.err err
-- @treturn string
function words.message(err)
  return (tostring(err):gsub("the token function returned none: ", ""))
end

--- What to do about the error, or nil.
-- @tparam crux.err err
-- @treturn ?string
function words.hint(err)
  if err.kind == "auth" and not err.status then return "run crux login, or set CRUX_TOKEN" end
  local hint = err.hint
  if not hint then return nil end
  for _, pair in ipairs(COMMANDS) do hint = hint:gsub(pair[1], pair[2]) end
  return hint
end

return words
