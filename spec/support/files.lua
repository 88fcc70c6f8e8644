--- Files, and what commands print, for the specs of the tree.
-- @module spec.support.files
local files = {}

--- A word of a shell's.
function files.quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

--- The lines that a command prints on both streams.
function files.lines(command)
  local out = {}
  local pipe = assert(io.popen(command .. " 2>&1"))
  for line in pipe:lines() do out[#out + 1] = line end
  pipe:close()
  return out
end

--- A file's bytes.
function files.read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

--- Writes a file anew.
function files.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

return files
