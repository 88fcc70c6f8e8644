-- Reads the LDoc comments of a Lua file: what docs/reference.md and library/ tell of its functions.
local comments = {}

-- `{ { code = the line after the comment, line 1, line 2, … }, … }`
local function blocks(path)
  local found, block = {}, nil
  for line in io.lines(path) do
    local first, more = line:match("^%s*%-%-%- ?(.*)$"), line:match("^%s*%-%- ?(.*)$")
    if first then block = { first }
    elseif block and more then block[#block + 1] = more
    elseif block then
      block.code = line
      found[#found + 1], block = block, nil
    end
  end
  return found
end

-- The text before the first tag, and the tags: `{ name, modifier, text }`.
local function split(block)
  local text, tags = {}, {}
  for _, line in ipairs(block) do
    local name, rest = line:match("^@(%a+)(.*)$")
    if name then
      local modifier, value = rest:match("^%[([^%]]*)%]%s*(.*)$")
      tags[#tags + 1] = { name, modifier, value or rest:match("^%s*(.*)$") }
    elseif #tags > 0 then
      local last = tags[#tags]
      last[3] = last[3] .. " " .. line:match("^%s*(.*)$")
    else
      text[#text + 1] = line
    end
  end
  return (table.concat(text, "\n"):gsub("%s+$", "")), tags
end

local function param(modifier, text, typed)
  local kind, name, doc
  if typed then kind, name, doc = text:match("^(%S+)%s+([%w_%.]+)%s*(.*)$")
  else name, doc = text:match("^([%w_%.]+)%s*(.*)$") end
  local optional = modifier ~= nil and modifier:find("^opt") ~= nil
  return { name = name, type = kind or "any", optional = optional, doc = doc }
end

local READ = {
  tparam = function(entry, modifier, text)
    entry.params[#entry.params + 1] = param(modifier, text, true)
  end,
  param = function(entry, modifier, text)
    entry.params[#entry.params + 1] = param(modifier, text, false)
  end,
  treturn = function(entry, modifier, text)
    local kind, rest = text:match("^(%S+)%s*(.*)$")
    entry.returns[#entry.returns + 1] = { group = tonumber(modifier) or 1, type = kind, doc = rest }
  end,
  ["return"] = function(entry, modifier, text)
    entry.returns[#entry.returns + 1] = { group = tonumber(modifier) or 1, type = "any", doc = text }
  end,
  raise = function(entry, _, text) entry.raises = text end,
  ["function"] = function(entry, _, text) entry.name = text end,
  ["local"] = function(entry) entry.is_local = true end,
  module = function(entry) entry.is_module = true end,
  classmod = function(entry) entry.is_module = true end,
}

--- The functions and fields with a comment, in order.
-- @tparam string path
-- @treturn table of `{ name, doc, params, returns, raises, is_field, is_local }`; `name` is
--   the code's: `Client:submit`, `Client.new`, `SANDBOX` for a field of a table
function comments.read(path)
  local entries = {}
  for _, block in ipairs(blocks(path)) do
    local entry = { params = {}, returns = {} }
    local tags
    entry.doc, tags = split(block)
    for _, tag in ipairs(tags) do
      local read = READ[tag[1]]
      if read then read(entry, tag[2], tag[3]) end
    end
    if not entry.name then
      entry.name = block.code:match("^function ([%w_%.:]+)") or block.code:match("^%s+([%w_]+) = ")
      entry.is_field = entry.name ~= nil and not block.code:find("^function")
    end
    if entry.name and not entry.is_module then entries[#entries + 1] = entry end
  end
  return entries
end

return comments
