-- Writes what follows from lua/crux/api.lua and the comments of lua/: csrc/api.c, docs/reference.md, the tables of
-- README.md between `<!-- generated: NAME -->` and `<!-- end -->`, and the LuaLS definitions in library/.
-- Usage, in the root of the tree, under any Lua: lua docs/generate.lua [DIRECTORY]
-- It reads the working directory and writes below DIRECTORY, which has the same folders; "." if left out.
package.path = "docs/?.lua;lua/?.lua;" .. package.path

local directory = arg and arg[1] or "."

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- A file that is the same already is left alone: what is built from it stays built.
local function write(path, text)
  path = directory .. "/" .. path
  local old = io.open(path, "rb")
  local same = old and old:read("*a") == text
  if old then old:close() end
  if same then return end
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  file:close()
  print(" " .. path)
end

-- The README with each generated region anew.
local function fill(text, tables)
  for name, rows in pairs(tables) do
    local _, first = text:find(("<!-- generated: %s -->\n"):format(name), 1, true)
    local last = first and text:find("<!-- end -->", first, true)
    if not last then
      error(("README.md: expected <!-- generated: %s --> and <!-- end -->"):format(name), 0)
    end
    text = text:sub(1, first) .. rows .. text:sub(last)
  end
  return text
end

local function generate()
  local reference = require "generate.reference"
  write("csrc/api.c", require "generate.c"())
  write("docs/reference.md", reference.page())
  write("README.md", fill(read("README.md"), { options = reference.options(), endpoints = reference.endpoints() }))
  for path, text in pairs(require "generate.luals"()) do write("library/" .. path, text) end
end

local ok, why = pcall(generate)
if not ok then
  io.stderr:write(tostring(why), "\n")
  os.exit(1)
end
