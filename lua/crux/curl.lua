--- The metatable of a dry run: as text, it is a command of curl's that sends the same request.
-- @module crux.curl
local next, rawget, type = next, rawget, type
local concat, sort = table.concat, table.sort
local find, format, gsub, lower = string.find, string.format, string.gsub, string.lower

-- What curl makes of the URL and of the body by itself.
local IMPLIED = { host = true, ["content-length"] = true }

-- A POSIX shell's word: everything between single quotes stands for itself.
local function quoted(text)
  return "'" .. gsub(text, "'", "'\\''") .. "'"
end

local function field(name, value)
  -- in double quotes, for the shell to put the token in
  if value == "Token [redacted]" then return format('--header "%s: Token $CRUX_TOKEN"', name) end
  -- curl takes a field without a value only with a semicolon, and removes it with a colon
  if value == "" then return "--header " .. quoted(name .. ";") end
  return "--header " .. quoted(name .. ": " .. value)
end

local function fields(headers)
  local list = {}
  for name, value in next, headers do
    if not IMPLIED[lower(name)] then
      list[#list + 1] = field(name, value)
    end
  end
  sort(list)
  return list
end

local function to_command(dry)
  -- -q first: no ~/.curlrc. The path as it is, and no pattern in it: an IPv6 host has brackets.
  local words = { "curl -q --http1.1 --path-as-is --globoff --request " .. dry.method }
  for _, word in next, fields(dry.headers) do words[#words + 1] = word end
  local body = dry.body
  if body or dry.headers["Content-Length"] then
    -- an empty value takes a field out that curl would add on its own
    words[#words + 1] = "--header 'Expect:'"
    if not body then words[#words + 1] = "--header 'Content-Type:'" end
    words[#words + 1] = "--data-raw " .. quoted(body or "")
  end
  words[#words + 1] = quoted(dry.url)
  local command = concat(words, " ")
  if body and find(body, "[redacted]", 1, true) and not dry.headers.Authorization then
    command = command .. " # not runnable: the password is redacted"
  end
  return command
end

return {
  __name = "crux.dry_run",
  __tostring = function(dry)
    if type(rawget(dry, "method")) ~= "string" then return "crux.dry_run" end
    return to_command(dry)
  end,
}
