--- Records of comma-separated values: RFC 4180, with CRLF or LF.
-- @module crux.cli.csv

-- The fields of a record that has no quotes.
local function split(text)
  local fields, count, from = {}, 0, 1
  while true do
    local comma = text:find(",", from, true)
    count = count + 1
    fields[count] = text:sub(from, (comma or #text + 1) - 1)
    if not comma then return fields end
    from = comma + 1
  end
end

-- The field that begins at `from` with a quote: its value, and the position behind the last quote;
-- nil without one.
local function quoted(text, from)
  local parts, at = {}, from + 1
  while true do
    local quote = text:find('"', at, true)
    if not quote then return nil end
    parts[#parts + 1] = text:sub(at, quote - 1)
    if text:sub(quote + 1, quote + 1) ~= '"' then return table.concat(parts), quote + 1 end
    parts[#parts + 1] = '"'
    at = quote + 2
  end
end

-- The fields of a record; false if a quote is not closed; nil and a message if it is no record.
local function parse(text)
  if not text:find('"', 1, true) then return split(text) end
  local fields, from = {}, 1
  while true do
    local value, after
    if text:sub(from, from) == '"' then
      value, after = quoted(text, from)
      if not value then return false end
      if not text:find("^,", after) and after <= #text then
        return nil, "expected a comma after a closing quote, found something else"
      end
    else
      after = text:find(",", from, true) or #text + 1
      value = text:sub(from, after - 1)
      if value:find('"', 1, true) then
        return nil, "expected a field in quotes, found a quote in a field without"
      end
    end
    fields[#fields + 1] = value
    if after > #text then return fields end
    from = after + 1
  end
end

-- The record's own line end.
local function chomp(text) return (text:gsub("\r$", "")) end

--- Iterates over records. Empty lines are left out.
-- @tparam function lines as from `crux.cli.input_lines`
-- @treturn function at each call: a list of fields (nil if it is no record), the number of the
--   record's first line, and what is wrong; false at the end; false, nil and a message after a
--   failure to read
return function(lines)
  return function()
    local line, number = lines()
    while line and chomp(line) == "" do line, number = lines() end
    if not line then return false, nil, number end
    local fields, why = parse(chomp(line))
    if fields ~= false then return fields, number, why end
    -- a quoted field goes on in the next line
    local parts = { line }
    repeat
      local more, failure = lines()
      if not more then
        return nil, number, failure or "expected a closing quote, found the end of the file"
      end
      parts[#parts + 1] = more
      -- only a line with a quote can close the field
      fields = false
      if more:find('"', 1, true) then fields, why = parse(chomp(table.concat(parts, "\n"))) end
    until fields ~= false
    return fields, number, why
  end
end
