--- What the command prints: results on stdout, as a table or as JSON Lines; the rest on stderr.
-- A stdout that fails is remembered in `broken`: the command then ends as after Ctrl-C.
-- @module crux.cli.output
local json = require "crux.cli.json"
local system = require "crux.os"
local words = require "crux.cli.words"

local Output = {}
Output.__index = Output

local COLORS = {
  accepted = "32", cancelled = "32", rejected = "31", closed = "31", unknown = "33", open = "33",
  partial = "33", not_sent = "31",
}

--- Makes a text printable: the server's words could contain sequences that a terminal obeys.
local function printable(text)
  return (tostring(text):gsub("[%c\127]", "?"):gsub("\194[\128-\159]", "?"))
end

-- Clears what a progress bar has drawn, before anything else is printed.
function Output:_clear()
  if self.before then self.before() end
end

function Output:_write(text)
  if self.broken then return end
  self:_clear()
  local written = self.stdout:write(text)
  if not written or not self.stdout:flush() then self.broken = true end
end

--- Prints a line of JSON, if `--json` is set.
-- @tparam string kind its field `type`
-- @tparam table fields a list of `{ name, value }`
function Output:json(kind, fields)
  if self.is_json then self:_write(json.line(kind, fields) .. "\n") end
end

--- Prints a row of a table, unless `--json` is set. The columns are two spaces apart.
-- @tparam table cells texts, or nil for an empty one
-- @tparam table widths of the columns; the last is not padded
function Output:row(cells, widths)
  if self.is_json then return end
  local parts = {}
  for i = 1, #widths do
    local text = cells[i] == nil and "" or printable(cells[i])
    local padding = (" "):rep(widths[i] - #text)
    if self.colored and COLORS[text] then
      text = "\27[" .. COLORS[text] .. "m" .. text .. "\27[0m"
    end
    parts[i] = text .. padding
  end
  self:_write((table.concat(parts, "  "):gsub("%s+$", "")) .. "\n")
end

--- Prints a line of text on stdout, unless `--json` is set.
function Output:text(text)
  if not self.is_json then self:_write(text .. "\n") end
end

--- Prints bytes on stdout as they are.
function Output:raw(text) self:_write(text) end

--- Prints a remark on stderr, unless `--quiet` is set.
function Output:note(text)
  if not self.quiet then self:warn(text) end
end

--- Prints a line on stderr.
function Output:warn(text)
  self:_clear()
  self.stderr:write(text, "\n")
  self.stderr:flush()
end

--- Prints what to do, below a row.
function Output:advise(text)
  if not self.is_json then self:_write("  " .. printable(text) .. "\n") end
end

--- Prints what a service says about single fields, and what to do, below a row.
-- @tparam crux.err err
-- @tparam[opt] string advice what to do, beside the hint
function Output:failure(err, advice)
  for path, messages in pairs(err.fields or {}) do
    local list = table.concat(messages, "; ")
    self:advise(path == "" and list or path .. ": " .. list)
  end
  local hint = words.hint(err)
  if hint then self:advise(hint) end
  if advice then self:advise(advice) end
end

--- @tparam table options `json`, `quiet`
-- @treturn table an output: also `live`, whether a progress bar can be drawn on stderr
local function new(options)
  local dumb = os.getenv "TERM" == "dumb"
  local no_color = os.getenv "NO_COLOR"
  return setmetatable({
    stdout = io.stdout, stderr = io.stderr, is_json = options.json or false,
    quiet = options.quiet or false,
    colored = system.isatty(1) and not dumb and (no_color or "") == "",
    live = system.isatty(2) and not dumb,
  }, Output)
end

return { new = new, printable = printable }
