--- The rules of the HTTP/1.1 response parser, one row for each: what it refuses, what it accepts,
-- where a body ends and whether the connection persists. The spec, the fuzzer's seeds and the
-- comparison with libcurl are made of these rows.
--
--     for _, row in ipairs(require "spec.support.responses") do
--       row.section, row.name, row.bytes, row.max_body, row.expected
--     end
-- @module spec.support.responses

local responses = {}

local OK = "HTTP/1.1 200 OK\r\n"

local MAX_BODY = 4096

-- What is expected of what a row does not mention; `false` stands for nil.
local ACCEPTED = {
  status = 200, version = "1.1", body = "ok", body_end = "whole", persistent = true,
  awaits_end = false, left = 0,
}
local REFUSED = { status = 0, body = "", fields = {}, field_count = 0, awaits_end = false }

-- Adds a row. `section` is one of RFC 9112 unless it names another. `bytes` are all that comes
-- before the connection ends. `expected` holds fields of a verdict (spec/support/response.c), or
-- is the name of a refusal.
local function row(section, name, bytes, expected)
  if type(expected) == "string" then expected = { refused = expected } end
  local all = {}
  for key, value in pairs(expected.refused and REFUSED or ACCEPTED) do all[key] = value end
  for key, value in pairs(expected) do all[key] = value end
  all.max_body = nil
  if not section:find("RFC") then section = "RFC 9112 " .. section end
  responses[#responses + 1] = {
    section = section, name = name, bytes = bytes, max_body = expected.max_body or MAX_BODY,
    expected = all,
  }
end

-- A status line in front of a response that is otherwise well-formed.
local function status_line(line) return line .. "\r\nContent-Length: 2\r\n\r\nok" end

-- Field lines in a response that is otherwise well-formed.
local function with(lines) return OK .. lines .. "\r\nContent-Length: 2\r\n\r\nok" end

-- Field lines that frame a body.
local function framed(lines, body) return OK .. lines .. "\r\n\r\n" .. body end

local function chunked(body) return framed("Transfer-Encoding: chunked", body) end

-- A response with a head of so many bytes.
local function head_of(size, before)
  local rest = (before or "") .. OK .. "Content-Length: 2\r\nX: "
  return rest .. ("x"):rep(size - #rest - 4) .. "\r\n\r\nok"
end

-- --- status line ---------------------------------------------------------------------------------

for _, case in ipairs{
  { "2.3", "refuses a body without a head, as of HTTP/0.9", "<html>hello</html>\r\n" },
  { "2.3", "refuses the version HTTP/2", status_line "HTTP/2 200 OK" },
  { "2.3", "refuses the version HTTP/2.0", status_line "HTTP/2.0 200 OK" },
  { "2.3", "refuses a version with two digits after the dot", status_line "HTTP/1.10 200 OK" },
  { "2.3", "refuses a version without a digit after the dot", status_line "HTTP/1. 200 OK" },
  { "2.3", "refuses a version with a letter after the dot", status_line "HTTP/1.x 200 OK" },
  { "2.3", "refuses a status line in lower case", status_line "http/1.1 200 OK" },
  { "2.3", "refuses the name of another protocol", status_line "ICY 200 OK" },
  { "4", "refuses a blank before the status line", status_line " HTTP/1.1 200 OK" },
  { "2.2", "refuses an empty line before the status line", status_line "\r\nHTTP/1.1 200 OK" },
  { "4", "refuses a status line without a status", status_line "HTTP/1.1" },
  { "4", "refuses two blanks before the status", status_line "HTTP/1.1  200 OK" },
  { "4", "refuses a tab before the status", status_line "HTTP/1.1\t200 OK" },
  { "4", "refuses a tab after the status", status_line "HTTP/1.1 200\tOK" },
  { "4", "refuses a letter right after the status", status_line "HTTP/1.1 200X" },
  { "4", "refuses a status of two digits", status_line "HTTP/1.1 20 OK" },
  { "4", "refuses a status of two digits without a reason", status_line "HTTP/1.1 20" },
  { "4", "refuses a status of four digits", status_line "HTTP/1.1 2000 OK" },
  { "4", "refuses a status with a sign", status_line "HTTP/1.1 +20 OK" },
  { "RFC 9110 15", "refuses the status 000", status_line "HTTP/1.1 000 OK" },
  { "RFC 9110 15", "refuses the status 099", status_line "HTTP/1.1 099 OK" },
  { "RFC 9110 15.2.2", "refuses the status 101",
    OK:gsub("200", "101") .. "Upgrade: websocket\r\n\r\n" },
  { "2.2", "refuses a bare CR in the reason", status_line "HTTP/1.1 200 O\rK" },
  { "2.2", "refuses two CRs at the end of the status line", status_line "HTTP/1.1 200 OK\r" },
  { "RFC 9110 5.5", "refuses a NUL in the reason", status_line "HTTP/1.1 200 O\0K" },
  { "2.3", "refuses another protocol without waiting for its line's end", "SSH-2.0-x" },
} do
  row(case[1], case[2], case[3], "status line")
end

row("4", "accepts a status line without a reason", status_line "HTTP/1.1 200 ", {})
row("4", "accepts a status line without a reason and the blank before it",
  status_line "HTTP/1.1 200", {})
row("4", "accepts UTF-8 in the reason", status_line "HTTP/1.1 200 \195\132h", {})
row("4", "accepts bytes of no encoding in the reason", status_line "HTTP/1.1 200 \255", {})
row("4", "accepts control characters in the reason", status_line "HTTP/1.1 200 \1\127", {})
row("4", "accepts blanks in and around the reason", status_line "HTTP/1.1 200  so it goes ", {})
row("RFC 9110 2.5", "accepts a minor version that does not exist yet",
  status_line "HTTP/1.9 200 OK", { version = "1.9" })
row("RFC 9110 15", "accepts the status 600", status_line "HTTP/1.1 600 Odd", { status = 600 })
row("RFC 9110 15", "accepts the status 999", status_line "HTTP/1.1 999 Odd", { status = 999 })
row("2.2", "accepts bare LFs at the ends of lines",
  "HTTP/1.1 200 OK\nX: a\nContent-Length: 2\n\nok",
  { fields = { "x", "a", "content-length", "2" } })

-- --- field lines ---------------------------------------------------------------------------------

for _, case in ipairs{
  { "5", "refuses a field line without a colon", with "X" },
  { "5", "refuses an empty field name", with ": a" },
  { "5.1", "refuses a blank before the colon", with "X : a" },
  { "5.1", "refuses a tab before the colon", with "X\t: a" },
  { "RFC 9110 5.1", "refuses a blank in a field name", with "X Y: a" },
  { "RFC 9110 5.6.2", "refuses a control character in a field name", with "X\1: a" },
  { "RFC 9110 5.6.2", "refuses a byte above 127 in a field name", with "X\195\132: a" },
  { "RFC 9110 5.5", "refuses a NUL in a field name", with "X\0Y: a" },
  { "RFC 9110 5.5", "refuses a NUL in a field value", with "X: a\0b" },
  { "2.2", "refuses a bare CR in a field value", with "X: a\rb" },
  { "2.2", "refuses two CRs at the end of a field line", with "X: a\r" },
  { "2.2", "refuses a bare CR in place of the empty line", "HTTP/1.1 204 No Content\r\n\r\r\n" },
  { "2.2", "refuses a first field line that is a continuation", with " X: a" },
  { "2.2", "refuses a first field line that is blank", with " " },
  { "5.2", "refuses a continuation of Content-Length", framed("Content-Length: 2\r\n 3", "ok") },
  { "5.2", "refuses a blank continuation of Content-Length",
    framed("Content-Length: 2\r\n ", "ok") },
  { "5.2", "refuses a continuation of Transfer-Encoding",
    framed("Transfer-Encoding:\r\n chunked", "0\r\n\r\n") },
  { "2.2", "refuses a first field line that is a continuation after an interim head",
    "HTTP/1.1 100 Continue\r\nX: a\r\n\r\n" .. with " b" },
  { "RFC 9110 15.2", "refuses a malformed field line in an interim head",
    "HTTP/1.1 100 Continue\r\nX\r\n\r\n" .. with "X: a" },
} do
  row(case[1], case[2], case[3], "field")
end

for delimiter in ('"(),/;<=>?@[\\]{}'):gmatch "." do
  local name = ("refuses %s in a field name"):format(delimiter)
  row("RFC 9110 5.6.2", name, with("X" .. delimiter .. ": a"), "field")
end

local function has_value(section, name, lines, found)
  row(section, name, with(lines), { fields = { "x", found, "content-length", "2" } })
end

has_value("5.1", "accepts a field value with no blank before it", "X:a", "a")
has_value("5.1", "takes the blanks off both ends of a field value", "X: \t a b\t \t", "a b")
has_value("5.1", "accepts an empty field value", "X:", "")
has_value("5.1", "accepts a field value of blanks alone", "X: \t ", "")
has_value("5.1", "accepts a colon in a field value", "X: a:b", "a:b")
has_value("RFC 9110 5.5", "accepts UTF-8 in a field value", "X: \195\132", "\195\132")
has_value("RFC 9110 5.5", "accepts control characters in a field value", "X: a\1\127b", "a\1\127b")
has_value("5.2", "joins a continuation line by one blank", "X: a \r\n\t b", "a b")
has_value("5.2", "joins several continuation lines", "X: a\r\n b\r\n c", "a b c")
has_value("5.2", "joins a continuation line to an empty value without a blank", "X:\r\n a", "a")
has_value("5.2", "accepts a blank continuation line", "X: a\r\n \r\n b", "a b")
row("5", "puts field names into lower case", with "X-Y!#$%&'*+.^_`|~9: A",
  { fields = { "x-y!#$%&'*+.^_`|~9", "A", "content-length", "2" } })
row("5", "keeps the order and the number of equal fields", with "B: 1\r\nA: 2\r\nB: 3",
  { fields = { "b", "1", "a", "2", "b", "3", "content-length", "2" }, field_count = 4 })
row("5", "accepts a head without fields", "HTTP/1.1 204 No Content\r\n\r\n",
  { status = 204, body = "", fields = {} })

-- --- Content-Length ------------------------------------------------------------------------------

for _, case in ipairs{
  { "RFC 9110 8.6", "refuses a Content-Length with a sign", "Content-Length: +2" },
  { "RFC 9110 8.6", "refuses a negative Content-Length", "Content-Length: -2" },
  { "RFC 9110 8.6", "refuses a Content-Length in hexadecimal digits", "Content-Length: 0x2" },
  { "RFC 9110 8.6", "refuses a Content-Length with a fraction", "Content-Length: 2.0" },
  { "RFC 9110 8.6", "refuses a Content-Length of two numbers", "Content-Length: 2 2" },
  { "RFC 9110 8.6", "refuses an empty Content-Length", "Content-Length:" },
  { "RFC 9110 8.6", "refuses a Content-Length with an empty element", "Content-Length: 2," },
  { "RFC 9110 8.6", "refuses a list of different numbers in Content-Length",
    "Content-Length: 2, 3" },
  { "6.3", "refuses a second Content-Length that differs",
    "Content-Length: 2\r\nContent-Length: 3" },
  { "6.3", "refuses a second Content-Length that differs, both above 2^60",
    "Content-Length: 1152921504606846977\r\nContent-Length: 1152921504606846978" },
  { "RFC 9110 8.6", "refuses a list of different numbers above 2^64 in Content-Length",
    "Content-Length: 18446744073709551618, 18446744073709551617" },
  { "RFC 9110 8.6", "refuses a number above 2^64 beside one with another number of digits",
    "Content-Length: 18446744073709551618, 184467440737095516180" },
  { "6.3", "refuses a malformed Content-Length beside Transfer-Encoding",
    "Transfer-Encoding: chunked\r\nContent-Length: x" },
} do
  row(case[1], case[2], framed(case[3], "ok"), "length")
end

row("6.3", "accepts a second Content-Length that is the same",
  framed("Content-Length: 2\r\nContent-Length: 2", "ok"), {})
row("RFC 9110 8.6", "accepts a list of one number in Content-Length",
  framed("Content-Length: 2 ,\t2", "ok"), {})
row("RFC 9110 8.6", "accepts leading zeros in Content-Length",
  framed("Content-Length: 0000000000000000000002, 2", "ok"), {})
row("RFC 9110 8.6", "accepts a Content-Length of several zeros",
  framed("Content-Length: 00\r\nContent-Length: 0", ""), { body = "" })
row("RFC 9110 8.6", "accepts Content-Length in any case", framed("CONTENT-LENGTH: 2", "ok"), {})

-- --- size of the head ----------------------------------------------------------------------------

local INTERIM = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

row("2.2", "accepts a head of 65536 bytes", head_of(65536), {})
row("2.2", "refuses a head of 65537 bytes", head_of(65537), "too long")
row("2.2", "refuses a line that does not end within 65536 bytes", OK .. ("x"):rep(65536),
  "too long")
row("2.2", "accepts an interim head and a head of 65536 bytes together",
  head_of(65536, INTERIM), {})
row("2.2", "refuses an interim head and a head of 65537 bytes together", head_of(65537, INTERIM),
  "too long")

-- --- a connection that ends in the head ----------------------------------------------------------

local function cut(name, bytes) row("8", name, bytes, { refused = "cut", awaits_end = true }) end

cut("refuses an end without a byte", "")
cut("refuses an end in the status line", "HTTP/1.1 20")
cut("refuses an end after the status line", OK)
cut("refuses an end in a field line", OK .. "Content-Le")
cut("refuses an end before the empty line", OK .. "Content-Length: 2\r\n")
cut("refuses an end before the last LF", OK .. "Content-Length: 2\r\n\r")
cut("refuses an end after an interim head", INTERIM)

-- --- interim responses ---------------------------------------------------------------------------

row("RFC 9110 15.2", "skips interim responses",
  "HTTP/1.1 100 Continue\r\n\r\n" .. INTERIM .. with "X: a",
  { fields = { "x", "a", "content-length", "2" }, field_count = 2 })
row("RFC 9110 15.2", "skips an interim response of a status that does not exist yet",
  "HTTP/1.1 199 Odd\r\n\r\n" .. with "X: a", {})
row("6.3", "does not frame the body by fields of an interim response",
  "HTTP/1.1 100 Continue\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n"
  .. "Keep-Alive: timeout=5\r\n\r\n" .. with "X: a", {})
row("2.3", "takes the version from the final head",
  "HTTP/1.0 100 Continue\r\n\r\n" .. with "X: a", {})
row("9.6", "heeds Connection: close in an interim response",
  "HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n" .. with "X: a",
  { persistent = false })

-- --- framing -------------------------------------------------------------------------------------

local CLOSED = { persistent = false, awaits_end = true }
local CUT = { persistent = false, awaits_end = true, body_end = "cut" }
local CODED = { persistent = false, awaits_end = true, body_end = "coded" }

local function like(base, more)
  local all = {}
  for key, value in pairs(base) do all[key] = value end
  for key, value in pairs(more) do all[key] = value end
  return all
end

row("6.3", "ends a body after Content-Length bytes", with "X: a", {})
row("6.3", "ends an empty body with the head", framed("Content-Length: 0", ""), { body = "" })
row("6.3", "ends a body without a length with the connection", framed("X: a", "ok"), CLOSED)
row("6.3", "ends a body that has not begun with the connection", framed("X: a", ""),
  like(CLOSED, { body = "" }))
row("6.3", "takes a body for cut that is shorter than Content-Length",
  framed("Content-Length: 3", "ok"), CUT)
row("RFC 9110 8.6", "takes a body for cut whose Content-Length is above 2^63-1",
  framed("Content-Length: 9223372036854775808", "ok"), CUT)
row("RFC 9110 8.6", "takes a body for cut whose Content-Length is above 2^64",
  framed("Content-Length: 18446744073709551618", "ok"), CUT)
row("RFC 9110 8.6", "takes a body for cut that has the same Content-Length above 2^64 twice",
  framed("Content-Length: 18446744073709551618\r\nContent-Length: 018446744073709551618", "ok"),
  CUT)
row("6.3", "expects no body after 204", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
  { status = 204, body = "" })
row("6.3", "expects no body after 304",
  "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
  { status = 304, body = "" })
row("6.3", "expects no body after 204 without a length", "HTTP/1.1 204 No Content\r\n\r\n",
  { status = 204, body = "" })
row("6.3", "lets Transfer-Encoding win over Content-Length and closes",
  framed("Content-Length: 1\r\nTransfer-Encoding: chunked",
    "2\r\nok\r\n0\r\n\r\n"), { persistent = false })
row("6.1", "takes `identity` for no transfer coding",
  framed("Transfer-Encoding: identity\r\nContent-Length: 2", "ok"),
  { persistent = false })
row("6.1", "takes an empty list for no transfer coding",
  framed("Transfer-Encoding: ,\r\nContent-Length: 2", "ok"),
  { persistent = false })
row("6.1", "takes `identity` before `chunked` for nothing",
  framed("Transfer-Encoding: identity,, Chunked", "2\r\nok\r\n0\r\n\r\n"), {})
row("6.3", "removes chunked framing after another coding and leaves the coding",
  framed("Transfer-Encoding: gzip, chunked", "2\r\nok\r\n0\r\n\r\n"), { body_end = "coded",
    persistent = false })
row("6.1", "removes chunked framing once where it is named twice",
  framed("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n"),
  { body_end = "coded", persistent = false })
row("6.3", "ends a body whose last coding is not chunked with the connection",
  framed("Transfer-Encoding: chunked, gzip\r\nContent-Length: 1", "ok"), CODED)
row("6.3", "ends a body of an unknown coding with the connection",
  framed("Transfer-Encoding: xchunked", "ok"), CODED)
row("7", "takes `chunked` with a parameter for an unknown coding",
  framed("Transfer-Encoding: chunked;a=b", "ok"), CODED)
row("6.1", "does not remove chunked framing in an HTTP/1.0 response",
  "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
  .. "2\r\nok\r\n0\r\n\r\n",
  like(CODED, { version = "1.0", body = "2\r\nok\r\n0\r\n\r\n" }))
row("6.1", "closes after an HTTP/1.0 response of 204 with a coding",
  "HTTP/1.0 204 No Content\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
  { status = 204, version = "1.0", body = "", persistent = false })

-- --- chunks --------------------------------------------------------------------------------------

row("7.1", "joins chunks", chunked "1\r\no\r\n1\r\nk\r\n0\r\n\r\n", {})
row("7.1", "reads the sizes of chunks in hexadecimal digits of either case",
  chunked("a\r\n0123456789\r\n0B\r\nabcdefghijk\r\n0\r\n\r\n"), { body = "0123456789abcdefghijk" })
row("7.1", "ends a body with the last chunk", chunked "0\r\n\r\n", { body = "" })
row("7.1", "accepts a chunk size of fifteen digits",
  chunked "000000000000002\r\nok\r\n000\r\n\r\n", {})
row("7.1.1", "accepts blanks after a chunk size", chunked "2 \t\r\nok\r\n0 \r\n\r\n", {})
row("7.1.1", "skips chunk extensions", chunked "2;a=b;c=\"d e\"\r\nok\r\n0 ; x\r\n\r\n", {})
row("7.1.2", "skips trailers", chunked "2\r\nok\r\n0\r\nX: a\r\nContent-Length: 9\r\n\r\n",
  { field_count = 1 })
row("7.1.1", "accepts 65536 bytes of chunk extensions",
  chunked("2" .. (";"):rep(65535) .. "\r\nok\r\n0;\r\n\r\n"), {})
row("7.1.2", "accepts 65536 bytes of trailers",
  chunked("2\r\nok\r\n0\r\n" .. ("x"):rep(65536) .. "\r\n\r\n"), {})

for _, case in ipairs{
  { "7.1", "breaks off at a chunk size that is no number", "2\r\nok\r\nx\r\n\r\n" },
  { "7.1", "breaks off at a chunk size with a prefix", "2\r\nok\r\n0x0\r\n\r\n" },
  { "7.1", "breaks off at a missing chunk size", "2\r\nok\r\n;a\r\n\r\n" },
  { "7.1", "breaks off at a chunk size with a sign", "2\r\nok\r\n-1\r\n\r\n" },
  { "7.1", "breaks off at a blank before a chunk size", "2\r\nok\r\n 0\r\n\r\n" },
  { "7.1", "breaks off at a chunk size of sixteen digits", "2\r\nok\r\n0000000000000000\r\n\r\n" },
  { "7.1", "breaks off at text after a chunk size", "2\r\nok\r\n0 x\r\n\r\n" },
  { "7.1", "breaks off at a bare LF after a chunk size", "2\r\nok\r\n0\n\r\n" },
  { "7.1", "breaks off at a bare CR after a chunk size", "2\r\nok\r\n0\r\r\n\r\n" },
  { "7.1", "breaks off at a chunk that is longer than its size", "2\r\nokay\r\n0\r\n\r\n" },
  { "7.1", "breaks off at a bare LF after a chunk", "2\r\nok\n0\r\n\r\n" },
  { "7.1", "breaks off at a bare CR after a chunk", "2\r\nok\rx0\r\n\r\n" },
  { "7.1.1", "breaks off at a bare LF in a chunk extension", "2\r\nok\r\n0;a\n\r\n" },
  { "7.1.1", "breaks off at a bare CR in a chunk extension", "2\r\nok\r\n0;a\rb\r\n\r\n" },
  { "7.1.1", "breaks off at a NUL in a chunk extension", "2\r\nok\r\n0;\0\r\n\r\n" },
  { "7.1.2", "breaks off at a bare LF in place of the trailers", "2\r\nok\r\n0\r\n\n" },
  { "7.1.2", "breaks off at a bare LF after a trailer", "2\r\nok\r\n0\r\nX: a\n\r\n" },
  { "7.1.2", "breaks off at a bare CR in a trailer", "2\r\nok\r\n0\r\nX: a\rb\r\n\r\n" },
  { "7.1.2", "breaks off at a bare CR after the trailers", "2\r\nok\r\n0\r\nX: a\r\n\rb\r\n\r\n" },
  { "7.1.2", "breaks off at a NUL in a trailer", "2\r\nok\r\n0\r\nX: \0\r\n\r\n" },
  { "7.1.1", "breaks off at 65537 bytes of chunk extensions",
    "2\r\nok\r\n0" .. (";"):rep(65537) .. "\r\n\r\n" },
  { "7.1.2", "breaks off at 65537 bytes of trailers",
    "2\r\nok\r\n0\r\n" .. ("x"):rep(65537) .. "\r\n\r\n" },
} do
  row(case[1], case[2], chunked(case[3]), { body_end = "broken", persistent = false, left = false })
end

for _, case in ipairs{
  { "in a chunk size", "2\r\nok\r\n0" },
  { "after the CR of a chunk size", "2\r\nok\r\n0\r" },
  { "in a chunk extension", "2\r\nok\r\n0;a" },
  { "in a chunk", "3\r\nok" },
  { "after a chunk", "2\r\nok" },
  { "after the CR of a chunk", "2\r\nok\r" },
  { "before a chunk size", "2\r\nok\r\n" },
  { "before the trailers", "2\r\nok\r\n0\r\n" },
  { "in a trailer", "2\r\nok\r\n0\r\nX: a" },
  { "after the CR of a trailer", "2\r\nok\r\n0\r\nX: a\r" },
  { "before the last LF", "2\r\nok\r\n0\r\nX: a\r\n\r" },
} do
  row("8", "takes a chunked body for cut that ends " .. case[1], chunked(case[2]), CUT)
end

-- --- limit of the body ---------------------------------------------------------------------------

local LIMIT = { body_end = "limit", persistent = false, max_body = 2, left = false }

row("8", "accepts a body as long as the limit", framed("Content-Length: 2", "ok"), { max_body = 2 })
row("8", "accepts a body as long as the limit that ends with the connection", framed("X: a", "ok"),
  like(CLOSED, { max_body = 2 }))
row("8", "breaks off at the limit of a body with a length", framed("Content-Length: 3", "oko"),
  LIMIT)
row("8", "breaks off at the limit of a body that ends with the connection", framed("X: a", "oko"),
  LIMIT)
row("8", "breaks off at the limit of a chunked body", chunked "1\r\no\r\n2\r\nko\r\n0\r\n\r\n",
  LIMIT)

-- --- persistence ---------------------------------------------------------------------------------

local function kept(section, name, bytes) row(section, name, bytes, {}) end
local function closed(section, name, bytes) row(section, name, bytes, { persistent = false }) end

kept("9.3", "keeps the connection alive after an HTTP/1.1 response", with "X: a")
closed("9.3", "closes after Connection: close", with "Connection: close")
closed("9.3", "closes after Connection: Close in a list", with "Connection: x,, Close ")
closed("9.3", "closes after Connection: close in a second field",
  with "Connection: keep-alive\r\nCONNECTION: close")
closed("9.3", "lets close win over keep-alive", with "Connection: close, keep-alive")
kept("RFC 9110 7.6.1", "takes options that contain `close` for others",
  with "Connection: closed, xclose, close x")
closed("5.2", "closes after a Connection that is continued", with "Connection: keep-alive,\r\n x")
row("5.2", "joins a continuation of Connection", with "Connection: a\r\n b",
  { fields = { "connection", "a b", "content-length", "2" }, persistent = false })
row("9.3", "closes after an HTTP/1.0 response", status_line "HTTP/1.0 200 OK",
  { version = "1.0", persistent = false })
row("9.3", "keeps the connection alive after an HTTP/1.0 response with Connection: keep-alive",
  status_line "HTTP/1.0 200 OK\r\nConnection: Keep-Alive", { version = "1.0" })
row("9.3", "does not take Keep-Alive for Connection: keep-alive",
  status_line "HTTP/1.0 200 OK\r\nKeep-Alive: timeout=5",
  { version = "1.0", persistent = false, keep_alive = 5 })
row("9.2", "closes after bytes that are left over", with "X: a" .. "HTTP",
  { persistent = false, left = 4 })
row("9.2", "closes after bytes that are left over behind the last chunk",
  chunked "2\r\nok\r\n0\r\n\r\nHTTP",
  { persistent = false, left = 4 })
row("9.2", "closes after a body where none may be", "HTTP/1.1 204 No Content\r\n\r\nok",
  { status = 204, body = "", persistent = false, left = 2 })

local function keep_alive(name, lines, seconds)
  row("RFC 2068 19.7.1.1", name, with(lines), { keep_alive = seconds or false })
end

keep_alive("has no keep-alive timeout without Keep-Alive", "X: a")
keep_alive("reads the timeout of Keep-Alive", "Keep-Alive: max=7, Timeout=5", 5)
keep_alive("reads the timeout of a Keep-Alive that is continued",
  "Keep-Alive: max=7,\r\n timeout=5", 5)
keep_alive("takes the largest number for a timeout that is larger",
  "Keep-Alive: timeout=99999999999999999999", 999999999)
keep_alive("takes no timeout from a Keep-Alive that is no number",
  "Keep-Alive: timeout=-5, timeout=, timeout=x")
keep_alive("takes no timeout from another parameter",
  "Keep-Alive: seconds=5, xtimeout=6, timeoutx=7, timeout")

return responses
