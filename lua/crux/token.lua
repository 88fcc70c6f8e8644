--- Removes tokens from texts. What a function of the user's raises or returns may hold a token, and
-- so may the server's words.
-- @module crux.token
local callback = require "crux.callback"
local core = require "crux.core"

local gsub, match, next = string.gsub, string.match, next

local token = {}

--- How many refused tokens are remembered for each source of tokens.
token.REMEMBERED = 16

--- Removes from a text the password, and every token, that is known to this call.
-- @tparam table call that of a login has the `session` whose tokens it may show
-- @tparam string text
-- @treturn string
function token.redact(call, text)
  local password = call.password or call.options and call.options.password
  if password then text = core.redact(text, password) end
  if not call.given then return text end
  for given in next, call.given do text = core.redact(text, given) end
  local refused = (call.source or call.session).refused
  for token_before in next, refused.values do text = core.redact(text, token_before) end
  return text
end

--- Removes these tokens from an error's message: from the server's words in it, since a short token
-- may be part of our own.
-- @tparam table call
-- @tparam string message
-- @treturn string
function token.public(call, message)
  local status, words = match(message, "^(HTTP [^:]*: )(.*)")
  return status and status .. token.redact(call, words) or message
end

--- Returns what was raised as a part of a message. It may hold a token or password that crux has
-- never seen, so words that are as long as one are removed too.
-- @tparam table call
-- @param why what was raised
-- @treturn string
function token.raised(call, why)
  if why == nil then return "" end
  local text = token.redact(call, callback.text(why))
  text = gsub(text, "[%w_%-]+", function(word) return #word >= 20 and "[redacted]" or nil end)
  return ": " .. text
end

return token
