-- Compares the response parser with libcurl's own HTTP on each row of spec/support/responses.lua: the
-- status or a refusal, the body, and whether it is whole. Each difference falls into the first class
-- below that fits it; a difference without a class is a failure, and so is a class without one.
-- Written for the libcurl of Debian 12.
local forks = require "spec.support.forks"
local responses = require "spec.support.responses"

local function load(name, flags)
  local object = forks.compile(name .. ".c", flags)
  local module = assert(package.loadlib(object, "luaopen_" .. name))()
  os.remove(object)
  return module
end

local parser = load("response")
local curl = load("curl_response", "$(pkg-config --cflags --libs libcurl)")

-- The parser refuses a head that has one of the patterns, and libcurl does not.
local function accepts(refusal, ...)
  local patterns = { ... }
  return function(ours, theirs, head)
    if not (theirs.status and ours.refused and ours.refused:find(refusal)) then return false end
    for _, pattern in ipairs(patterns) do
      if head:find(pattern) then return true end
    end
  end
end

-- Both accept the head; what the body comes to differs.
local function reads(body_end, is_whole, pattern)
  return function(ours, theirs, head)
    return ours.body_end and ours.body_end:find(body_end) and theirs.whole == is_whole
      and head:find(pattern)
  end
end

-- { section of RFC 9112 unless it names another, what libcurl does, whether the difference is that }
local CLASSES = {
  { "RFC 9110 7.8", "accepts a 101 that nobody asked for", accepts("status line", "^[^\n]* 101 ") },
  { "2.2", "accepts a bare CR in a head", accepts("", "\r[^\n]") },
  { "5.2", "accepts a continuation of what frames the body", accepts("field", "\n[ \t]") },
  { "2.3", "accepts HTTP/2, and HTTP/1.1 in lower case", accepts("status line", "^HTTP/2", "^http/") },
  { "4", "accepts other text around a status", accepts("status line", "^HTTP/1%.1") },
  { "5", "accepts a field name that is no token", accepts("field", "\n[%w-]*[^%w:\r\n-]", "\n:") },
  { "RFC 9110 8.6", "accepts a Content-Length that is no number, or two", accepts("length", "Content%-Length:") },
  { "RFC 9110 5.4", "accepts a larger head", accepts("too long", ".") },
  { "RFC 9110 2.5", "refuses a minor version above 1", function(_, theirs, head)
    return not theirs.status and head:find("^HTTP/1%.[2-9] ")
  end },
  { "RFC 9110 8.6", "ignores a Content-Length above 2^63-1", reads("cut", true, "Length: %d+%d%d") },
  { "6.1", "removes chunked framing in HTTP/1.0", reads("coded", true, "^HTTP/1%.0") },
  { "6.1", "removes one of two chunked framings", reads("coded", true, "chunked.*chunked") },
  { "7", "gives up at a transfer coding", reads("coded", false, "Transfer%-Encoding") },
  { "7.1.2", "accepts fewer trailers", reads("whole", false, "chunked") },
  { "7.1", "accepts malformed chunked framing", reads("[bc][ru]", true, "chunked") },
}

local function differ(ours, theirs)
  local status = not ours.refused and ours.status or nil
  if status ~= theirs.status then return true end
  return status and (ours.body ~= theirs.body or (ours.body_end == "whole") ~= theirs.whole)
end

local function class_of(ours, theirs, head)
  for _, class in ipairs(CLASSES) do
    if class[3](ours, theirs, head) then return class end
  end
end

local counts, differences, faults = {}, 0, 0
for _, row in ipairs(responses) do
  local ours, theirs = parser.parse(row.bytes, row.max_body), curl.parse(row.bytes, row.max_body)
  if differ(ours, theirs) then
    local class = class_of(ours, theirs, row.bytes:match("^.-\n\r?\n") or row.bytes)
    differences = differences + 1
    if class then counts[class] = (counts[class] or 0) + 1 else
      faults = faults + 1
      print(("no class: %s (%s); libcurl: %s, %s"):format(row.name, row.section,
        theirs.status or "refused", theirs.code))
    end
  end
end

for _, class in ipairs(CLASSES) do
  if not counts[class] then faults = faults + 1 end
  print(("%3d  libcurl %s (%s)"):format(counts[class] or 0, class[2], class[1]))
end
print(("%d responses, %d differences in %d classes, %d faults; %s"):format(#responses, differences,
  #CLASSES, faults, curl.version))
os.exit(faults == 0)
