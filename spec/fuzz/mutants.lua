-- Breaks each rule of csrc/http/response.c on purpose, in a copy, and shows that the fuzzer finds
-- that within 30 s.
--
--     lua5.4 spec/fuzz/mutants.lua COMPILER SEEDS        (make fuzz-mutants)
local compiler, seeds = arg[1], arg[2]

local PARSER = "csrc/http/response.c"
local DIR = seeds:gsub("[^/]*$", "mutant") -- beside the seeds
local FOUND = 77 -- libFuzzer's exit status for a failed input, and here that of any other fault too

local RUN = "ASAN_OPTIONS=exitcode=%d %s/response -timeout=5 -timeout_exitcode=%d "
  .. "-max_total_time=%d -artifact_prefix=%s/ %s >/dev/null 2>&1"

-- { the rule that is broken, a text that is there once, what is put in its place }
local MUTANTS = {
  { "the name of the protocol is HTTP", [[memcmp(line, "HTTP/1.", 7) == 0 && is_digit]],
    "is_digit" },
  { "the minor version is a digit", "is_digit(line[7]) &&", "" },
  { "one blank stands before the status", "line[8] == ' ' &&", "is_blank(line[8]) &&" },
  { "a status has three digits", "(len == 12 || line[12] == ' ')", "(len >= 12)" },
  { "a status is a number", "read_number((slice){line + 9, 3}, &status)",
    "read_number((slice){line + 10, 2}, &status)" },
  { "the reason and the blank before it may be absent", "len >= 12 &&", "len > 12 &&" },
  { "a status begins at 100", "status < 100 ||", "status < 1 ||" },
  { "101 is refused", "|| status == 101", "" },
  { "102 is not", "|| status == 101", "|| status == 101 || status == 103" },
  { "statuses end at 999", "status < 100 ||", "status < 100 || status >= 600 ||" },
  { "another protocol is refused at once", "(r->next == STATUS_LINE && !may_be_http(r->body))",
    "false" },
  { "a bare CR is refused", "if (cr && cr != line + len) refuse_line(r);",
    "if (false) refuse_line(r);" },
  { "a NUL is refused", "if (nul && nul < lf) refuse_line(r);", "if (false) refuse_line(r);" },
  { "a NUL is refused in an incomplete line too", "if (nul || (r->next", "if ((r->next" },
  { "a line may end with LF alone", "if (cr) len--;", "if (cr) len--; else refuse_line(r);" },
  { "a field name is not empty", "name_len == 0 ||", "" },
  { "no blank stands before the colon", "line[name_len] != ':'",
    "line[name_len] != ':' && line[name_len] != ' '" },
  { "a field name is a token", [[$%&'\0\0*]], [[$%&'(\0*]] },
  { "a field name is given in lower case", [["\0abcdefghijklmnopqrstuvwxyz\0\0\0^_"]],
    [["\0ABCDEFGHIJKLMNOPQRSTUVWXYZ\0\0\0^_"]] },
  { "a value has no blank in front", "while (s.len > 0 && is_blank(s.at[0]))", "while (false)" },
  { "a value has no blank behind", "while (s.len > 0 && is_blank(s.at[s.len - 1]))",
    "while (false)" },
  { "a tab is a blank", [[c == ' ' || c == '\t'; }]], "c == ' '; }" },
  { "the fields are counted", "r->field_count++;", "" },
  { "the first field line is no continuation", "field == NO_FIELD ||",
    "r->field_count == 0 ? false :" },
  { "Content-Length is not continued", "field == CONTENT_LENGTH ||", "" },
  { "Transfer-Encoding is not continued", "|| field == TRANSFER_ENCODING", "" },
  { "a continuation is joined by a blank", "b->data[b->len - 1] = ' ';", "b->len--;" },
  { "a continuation of nothing is not joined", "if (b->len - 1 == r->head.last_value) b->len--;",
    "" },
  { "a blank continuation adds nothing", "if (more.len == 0) return;", "" },
  { "a Connection that is continued closes", "if (field == CONNECTION) r->close = true;", "" },
  { "a Keep-Alive that is continued counts whole", "|| field == TRANSFER_ENCODING",
    "|| field == TRANSFER_ENCODING || field == KEEP_ALIVE" },
  { "Content-Length is a number", "if (!read_number(digits, &length)) return false;",
    "read_number(digits, &length);" },
  { "Content-Length is not empty", "return s.len > 0;", "return true;" },
  { "Content-Length does not contradict itself",
    "if (r->head.has_length && !is_same_length(r, digits)) return false;", "" },
  { "Content-Length may say the same twice", "!is_same_length(r, digits)", "true" },
  { "Content-Lengths that are too large may differ",
    "memcmp(digits.at, r->fields.data + r->head.length_at, digits.len) == 0",
    "(digits.len > 18 || memcmp(digits.at, r->fields.data + r->head.length_at, digits.len) == 0)" },
  { "Content-Length may have leading zeros",
    "while (digits.len > 1 && digits.at[0] == '0') digits.at++, digits.len--;", "" },
  { "a number that is too large stays large", "if (*number > NUMBER_MAX) *number = NUMBER_MAX;",
    "" },
  { "a head has at most 65536 bytes", "CRUX_HEAD_MAX - r->head_len",
    "CRUX_HEAD_MAX + 1 - r->head_len" },
  { "a head may have 65536 bytes", "CRUX_HEAD_MAX - r->head_len",
    "CRUX_HEAD_MAX - 1 - r->head_len" },
  { "the pieces of a head are counted together", "r->head_len += seen;", "" },
  { "interim heads count", "memset(&r->head, 0, sizeof r->head);",
    "memset(&r->head, 0, sizeof r->head), r->head_len = 0;" },
  { "interim responses are skipped", "r->head.status >= 200", "r->head.status > 100" },
  { "what an interim head says of a body is forgotten", "memset(&r->head, 0, sizeof r->head);",
    "" },
  { "the fields of an interim head are forgotten",
    "crux_buffer_clear(&r->fields);\n  r->field_count = 0;\n  r->keep", "r->keep" },
  { "the timeout of an interim head is forgotten", "r->keep_alive_timeout = -1;\n  memset(&r->head",
    "memset(&r->head" },
  { "a close of an interim head is heeded", "memset(&r->head, 0, sizeof r->head);",
    "memset(&r->head, 0, sizeof r->head), r->close = false;" },
  { "a connection that ends in the head is reported", "refuse(r, CRUX_REFUSAL_CUT)",
    "refuse(r, CRUX_REFUSAL_FIELD)" },
  { "204 has no body", "r->status == 204 ||", "" },
  { "304 has no body", "r->status == 304 ||", "" },
  { "Transfer-Encoding wins over Content-Length", "if (r->head.codings > 0) return",
    "if (r->head.codings > 0 && !r->head.has_length) return" },
  { "identity is no coding", [[|| is_token(coding, "identity")]], "" },
  { "an empty element is no coding", "coding.len == 0 ||", "" },
  { "chunked frames only where it is last", "r->head.chunked = is_token",
    "r->head.chunked |= is_token" },
  { "chunked is compared without case", "LOWER[(unsigned char)s.at[i]] == token[i]",
    "s.at[i] == token[i]" },
  { "chunked is compared whole", "return i == s.len && !token[i];", "return !token[i];" },
  { "a coding besides chunked is reported", "return r->head.codings > is_chunked(r);",
    "return !is_chunked(r) && r->head.codings > 0;" },
  { "a coding other than chunked is reported", "return r->head.codings > is_chunked(r);",
    "return r->head.codings > 1;" },
  { "an HTTP/1.0 response is not chunked", "return r->head.chunked && r->version[2] != '0';",
    "return r->head.chunked;" },
  { "a body without a length ends with the connection",
    "return r->head.has_length ? SIZED_BODY : UNSIZED_BODY;", "return SIZED_BODY;" },
  { "a body has Content-Length bytes", "r->remaining = r->head.length;",
    "r->remaining = r->head.length + 1;" },
  { "a body of no bytes ends with the head", "(r->next == SIZED_BODY && r->head.length == 0)",
    "false" },
  { "a body that is cut is reported", "complete(r, CRUX_BODY_CUT)", "complete(r, CRUX_BODY_WHOLE)" },
  { "a body has at most max_body bytes", "data, len, r->max_body)", "data, len, r->max_body + 1)" },
  { "a body over its limit is reported", "complete(r, CRUX_BODY_LIMIT)",
    "complete(r, CRUX_BODY_WHOLE)" },
  { "a chunk size has at most fifteen digits", "#define CHUNK_DIGITS 15",
    "#define CHUNK_DIGITS 16" },
  { "a chunk size may have fifteen digits", "#define CHUNK_DIGITS 15", "#define CHUNK_DIGITS 14" },
  { "a chunk size may have digits in upper case", "if (c >= 'A' && c <= 'F') return c - 'A' + 10;",
    "" },
  { "a chunk size has a digit", "return r->chunk_digits > 0 ? after_size(r, c) : CHUNKS_BROKEN;",
    "return after_size(r, c);" },
  { "the digits of each chunk size count", "r->chunk_digits = 0;", "" },
  { "blanks may follow a chunk size", "if (!is_blank(c) && c != ';'", "if (c != ';'" },
  { "nothing else follows a chunk size",
    [[if (!is_blank(c) && c != ';' && c != '\r') return CHUNKS_BROKEN;]], "" },
  { "a chunk size ends with CRLF", [[if (c != '\n') return CHUNKS_BROKEN;]], "" },
  { "a chunk ends with CR", [[return c == '\r' ? CHUNK_DATA_LF : CHUNKS_BROKEN;]],
    [[return c == '\r' ? CHUNK_DATA_LF : CHUNK_SIZE;]] },
  { "a chunk ends with LF", [[return c == '\n' ? CHUNK_SIZE : CHUNKS_BROKEN;]],
    "return CHUNK_SIZE;" },
  { "no bare LF stands in an extension or a trailer", [[c == '\n' || c == '\0' ||]],
    [[c == '\0' ||]] },
  { "no NUL stands in an extension or a trailer", [[c == '\n' || c == '\0' ||]], [[c == '\n' ||]] },
  { "extensions and trailers are bounded", "++r->skipped > CRUX_HEAD_MAX",
    "++r->skipped > CRUX_HEAD_MAX + 1" },
  { "trailers are skipped", "return skip(r, c, TRAILER, LAST_LF);",
    [[return c == '\r' ? LAST_LF : CHUNKS_BROKEN;]] },
  { "a trailer ends with CRLF", [[return c == '\n' ? TRAILER_START : CHUNKS_BROKEN;]],
    "return TRAILER_START;" },
  { "the last line ends with CRLF", [[return c == '\n' ? CHUNKS_END : CHUNKS_BROKEN;]],
    "return CHUNKS_END;" },
  { "broken framing is reported", "complete(r, CRUX_BODY_BROKEN)", "complete(r, CRUX_BODY_CUT)" },
  { "Connection: close closes", [[if (is_token(option, "close")) r->close = true;]], "" },
  { "HTTP/1.0 with keep-alive persists",
    [[if (is_token(option, "keep-alive")) r->head.keep_alive = true;]], "" },
  { "HTTP/1.0 closes", "(r->version[2] == '0' && !h->keep_alive)", "false" },
  { "close wins over keep-alive", "if (r->close ||", "if ((r->close && !h->keep_alive) ||" },
  { "both lengths close", "!(h->has_length && h->has_coding)", "true" },
  { "a coding that is left closes", "&& !is_coded(r);", ";" },
  { "a broken body closes", "if (end != CRUX_BODY_WHOLE) r->persistent = false;", "" },
  { "bytes that are left over close", "if (taken < len) r->persistent = false;", "" },
  { "a list is separated by commas", "memchr(list->at, ',', list->len)",
    "memchr(list->at, ';', list->len)" },
  { "a timeout is named so", [[if (!is_token((slice){parameter.at, 7}, "timeout")) continue;]],
    "" },
  { "a timeout is a number",
    "if (!read_number((slice){parameter.at + 8, parameter.len - 8}, &seconds)) continue;",
    "read_number((slice){parameter.at + 8, parameter.len - 8}, &seconds);" },
  { "a timeout has a largest value", "seconds < TIMEOUT_MAX ? seconds : TIMEOUT_MAX", "seconds" },
  { "no memory for a field is reported", "if (!crux_buffer_reserve(b, b->len + len + 1)) {",
    "if (!crux_buffer_reserve(b, b->len + len + 1) && len > 99) {" },
  { "no memory for a line is reported", "refuse(r, CRUX_REFUSAL_NOMEM);\n  return false;",
    "return false;" },
  { "no memory for a body is reported",
    "if (status == CRUX_BUFFER_NOMEM) complete(r, CRUX_BODY_NOMEM);", "" },
}

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("a")
  file:close()
  return text
end

local function replaced(text, from, to)
  local first, last = text:find(from, 1, true)
  local is_there_once = first and not text:find(from, last + 1, true)
  assert(is_there_once, ("expected once in %s: %s"):format(PARSER, from))
  return text:sub(1, first - 1) .. to .. text:sub(last + 1)
end

-- True if the fuzzer finds a fault within so many seconds, false if not. If the text cannot be
-- built, nil and the compiler's words.
local function has_fault(text, seconds)
  local file = assert(io.open(DIR .. "/http/response.c", "w"))
  file:write(text)
  file:close()
  local build = "%s -w -I%s -Icsrc -o %s/response spec/fuzz/response.c >%s/log 2>&1"
  if not os.execute(build:format(compiler, DIR, DIR, DIR)) then return nil, read(DIR .. "/log") end
  local _, _, status = os.execute(RUN:format(FOUND, DIR, FOUND, seconds, DIR, seeds))
  return status == FOUND
end

local text, found = read(PARSER), 0
assert(os.execute(("mkdir -p %s/http && cp csrc/http/*.h %s/http"):format(DIR, DIR)))
assert(has_fault(text, 1) == false, "expected no fault in the parser as it is")
for _, mutant in ipairs(MUTANTS) do
  local is_found, why = has_fault(replaced(text, mutant[2], mutant[3]), 30)
  found = found + (is_found and 1 or 0)
  if not is_found then print(("not found: %s %s"):format(mutant[1], why or "")) end
end
print(("%d of %d mutants found"):format(found, #MUTANTS))
os.exit(found == #MUTANTS)
