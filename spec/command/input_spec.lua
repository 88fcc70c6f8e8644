-- The orders of a bulk run: CSV, JSON Lines, bare UUIDs; what is refused, with its line.
local crux = require "crux"
local input = require "crux.cli.input"

local A, B = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29", "0f0e0d0c-0b0a-4908-8706-050403020100"
local SUPPLIER, OTHER = "757ce28d-fbd6-4b9f-8051-f847482e169f",
  "c3b1b2f6-5d0e-4a4b-9a52-6a3f2f0f5b7e"

-- A file that gives a text in pieces of that many bytes.
local function file_of(text, piece)
  local place = 1
  return {
    read = function(_, count)
      if place > #text then return nil end
      local part = text:sub(place, place + math.min(count, piece or count) - 1)
      place = place + #part
      return part
    end,
  }
end

-- What an input comes to: its orders, problems and remarks, the latter two as "line: message".
local function read(text, options)
  options = options or {}
  local problems, remarks, list = {}, {}, {}
  local got = input.read(file_of(text, options.piece), {
    client = crux.new{ token = "t" }, ignore = options.ignore,
    problem = function(line, message) problems[#problems + 1] = line .. ": " .. message end,
    remark = function(line, message) remarks[#remarks + 1] = line .. ": " .. message end,
  })
  if #problems == 0 then
    for order in input.each(got) do list[#list + 1] = order end
    assert.equal(#list, got.count)
  end
  assert.equal(#problems, got.problems)
  input.close(got)
  return list, problems, remarks
end

local function orders_of(text, options)
  local list, problems = read(text, options)
  assert.same({}, problems)
  return list
end

local function problems_of(text, options)
  local _, problems = read(text, options)
  return problems
end

describe("the input of crux cancel", function()
  it("may be CSV of order UUIDs", function()
    assert.same({ { order_uuid = A }, { order_uuid = B } }, orders_of("order_uuid\n" .. A .. "\n"
      .. B .. "\n"))
  end)

  it("may have a byte order mark, CRLF, empty lines, and no newline at the end", function()
    assert.same({ { order_uuid = A }, { order_uuid = B } },
      orders_of("\239\187\191order_uuid\r\n\r\n" .. A .. "\r\n\r\n" .. B))
  end)

  for _, piece in ipairs{ 1, 2, 3, 7 } do
    it(("is the same in pieces of %d bytes"):format(piece), function()
      local text = "\239\187\191order_uuid,sku_id,supplier_uuid\r\n" .. A .. ',"a\r\nb",'
        .. SUPPLIER .. "\r\n" .. B .. ",,"
      assert.same({
        { order_uuid = A, skus = { { supplier_uuid = SUPPLIER, sku_id = "a\r\nb" } } },
        { order_uuid = B },
      }, orders_of(text, { piece = piece }))
    end)
  end

  it("takes an empty cell for an absent field, and columns in any order", function()
    assert.same({
      { order_uuid = A, skus = { { supplier_uuid = SUPPLIER, sku_id = "000106" } } },
      { order_uuid = B },
    }, orders_of("quantity,sku_id,order_uuid,price,supplier_uuid\n,000106," .. A .. ",," .. SUPPLIER
      .. "\n,," .. B .. ",,\n"))
  end)

  it("takes every field of a SKU", function()
    local text = "order_uuid,supplier_uuid,sku_id,quantity,price,expected_sku_cost\n"
      .. "%s,%s,000106,2,19.9,7\n"
    assert.same({
      { order_uuid = A, skus = { {
        supplier_uuid = SUPPLIER, sku_id = "000106", quantity = "2", price = "19.9",
        expected_sku_cost = "7",
      } } },
    }, orders_of(text:format(A, SUPPLIER)))
  end)

  for what, case in pairs{
    ["a quote"] = { 'a"b', '"a""b"' }, ["a comma"] = { "a,b", '"a,b"' },
    ["a newline"] = { "a\nb", '"a\nb"' },
    ["nothing"] = { "", '""' }, ["two newlines alone"] = { "\n\n", '"\n\n"' },
    ["a quote alone"] = { '"', '""""' },
  } do
    it("takes a quoted field that has " .. what, function()
      local name, row = case[1], case[2]
      local sku = { supplier_uuid = SUPPLIER, sku_id = name ~= "" and name or nil }
      assert.same({ { order_uuid = A, skus = { sku } }, { order_uuid = B } },
        orders_of("order_uuid,sku_id,supplier_uuid\n" .. A .. "," .. row .. "," .. SUPPLIER .. "\n"
          .. B .. ",,\n"))
    end)
  end

  it("makes one order of rows that are apart, in the place of the first", function()
    local text = "order_uuid,supplier_uuid,sku_id\n%s,%s,1\n%s,%s,1\n%s,%s,2\n"
    local list, problems, remarks = read(text:format(A, SUPPLIER, B, SUPPLIER, A:upper(), OTHER))
    assert.same({}, problems)
    assert.same({}, remarks)
    assert.same({
      { order_uuid = A, skus = {
        { supplier_uuid = SUPPLIER, sku_id = "1" }, { supplier_uuid = OTHER, sku_id = "2" },
      } },
      { order_uuid = B, skus = { { supplier_uuid = SUPPLIER, sku_id = "1" } } },
    }, list)
  end)

  it("tells of identical rows, and sends them once", function()
    local list, _, remarks = read("order_uuid\n" .. A .. "\n" .. B .. "\n" .. A:upper() .. "\n")
    assert.same({ { order_uuid = A }, { order_uuid = B } }, list)
    assert.same({ "4: the order is there already: it is sent once" }, remarks)
    local text = "order_uuid,supplier_uuid,sku_id\n%s,%s,1\n%s,%s,2\n%s,%s,1\n"
    list, _, remarks = read(text:format(A, SUPPLIER, A, SUPPLIER, A, SUPPLIER))
    assert.equal(2, #list[1].skus)
    assert.same({ "4: the row is there already: it is sent once" }, remarks)
  end)

  it("refuses an order both with and without SKUs", function()
    local text = "order_uuid,supplier_uuid\n%s,%s\n%s,\n%s,\n%s,%s\n"
    assert.same({
      "3: the order is there both with and without SKUs",
      "5: the order is there both with and without SKUs",
    }, problems_of(text:format(A, SUPPLIER, A, B, B, SUPPLIER)))
  end)

  it("tells every bad row with its line", function()
    local text = "order_uuid,supplier_uuid,quantity\n" .. A .. ",,\nx,,\n" .. B .. ",,2\n" .. B
      .. "," .. SUPPLIER
      .. ',0\n"' .. B .. "\n" .. A .. "\n"
    local problems = problems_of(text)
    assert.equal(4, #problems, table.concat(problems, "\n"))
    assert.is_truthy(problems[1]:find("^3: order_uuid: expected a UUID"), problems[1])
    assert.is_truthy(problems[2]:find("^4: supplier_uuid: "), problems[2])
    assert.is_truthy(problems[3]:find("^5: quantity: expected"), problems[3])
    assert.equal("6: expected a closing quote, found the end of the file", problems[4])
  end)

  for name, case in pairs{
    ["an unknown column"] = { "order_uuid,colour\n",
      "1: unknown column 'colour': expected order_uuid, supplier_uuid, "
      .. "sku_id, quantity, price, expected_sku_cost; --ignore-columns leaves others out" },
    ["a column that is there twice"] = { "order_uuid,order_uuid\n",
      "1: expected the column order_uuid once, found it twice" },
    ["no column order_uuid"] = { "sku_id\n",
      "1: expected a first line that names the columns, among them order_uuid" },
    ["a row with more fields"] = { "order_uuid\n" .. A .. ",x\n",
      "2: expected 1 fields, as in the first line, found 2" },
    ["a row with fewer fields"] = { "order_uuid,sku_id\n" .. A .. "\n",
      "2: expected 2 fields, as in the first line, found 1" },
    ["text behind a quote"] = { 'order_uuid\n"' .. A .. '"x\n',
      "2: expected a comma after a closing quote, found something else" },
    ["a quote inside a field"] = { 'order_uuid\na"b\n',
      "2: expected a field in quotes, found a quote in a field without" },
    ["an empty file"] = { "", "1: expected orders, found an empty file" },
    ["blank lines alone"] = { "\n \r\n", "1: expected orders, found an empty file" },
    ["a header alone"] = { "order_uuid\n", "1: expected orders, found none" },
    ["JSON that is cut off"] = { '{"order_uuid":\n', "1: expected JSON, found something else" },
    ["a list instead of an object"] = { '{"order_uuid":"' .. A .. '"}\n["' .. B .. '"]\n',
      "2: expected a JSON object, found another" },
    ["a token in a line"] = { '{"order_uuid":"' .. A .. '","token":"t"}\n',
      "1: unknown field 'token': expected order_uuid and skus alone" },
    ["a service in a line"] = { '{"order_uuid":"' .. A .. '","base_url":"http://127.0.0.1"}\n',
      "1: unknown field 'base_url': expected order_uuid and skus alone" },
  } do
    it("refuses " .. name, function() assert.same({ case[2] }, problems_of(case[1])) end)
  end

  it("refuses a NUL byte behind a UUID", function()
    local problems = problems_of(A .. "\n" .. B .. "\0\n")
    assert.equal(1, #problems)
    assert.is_truthy(problems[1]:find("^2: order_uuid: expected a UUID"), problems[1])
  end)

  it("leaves out unknown columns on request", function()
    assert.same({ { order_uuid = A } }, orders_of("colour,order_uuid,colour\nred," .. A .. ",\n",
      { ignore = true }))
  end)

  it("may be bare UUIDs", function()
    assert.same({ { order_uuid = A }, { order_uuid = B } }, orders_of("\n" .. A .. "\r\n  " .. B
      .. "  \n"))
  end)

  it("may be JSON Lines, in which null is an absent field", function()
    local text = '{"order_uuid":"%s"}\n\n{"order_uuid":"%s",'
      .. '"skus":[{"supplier_uuid":"%s","quantity":2,"price":null}]}\n'
    local list = orders_of(text:format(A, B, SUPPLIER))
    assert.equal(A, list[1].order_uuid)
    assert.equal(2, tonumber(list[2].skus[1].quantity))
    assert.is_nil(list[2].skus[1].price)
  end)

  it("tells a bad line of JSON with the field", function()
    local problems = problems_of('{"order_uuid":"' .. A
      .. '","skus":[]}\n{"skus":[]}\n{"order_uuid":null}\n')
    assert.equal(3, #problems)
    for i, field in ipairs{ "skus", "order_uuid", "order_uuid" } do
      assert.equal(1, (problems[i]:find(i .. ": " .. field, 1, true)), problems[i])
    end
  end)

  it("tells of a file that cannot be read", function()
    local directory = io.open(".", "rb")
    local problems = {}
    local got = input.read(directory, {
      client = crux.new{ token = "t" },
      problem = function(_, message) problems[#problems + 1] = message end,
    })
    directory:close()
    input.close(got)
    assert.same({ "Is a directory" }, problems)
  end)

  it("tells each order once among 100,000 that differ in any byte", function()
    local lines = {}
    for i = 1, 100000 do
      local text = ("%08x"):format(i % 16 * 268435456 + i)
      lines[i] = i % 2 == 0 and text .. "-0000-4000-8000-000000000000"
        or "00000000-0000-4000-8000-0000" .. text
    end
    lines[#lines + 1] = lines[77777]
    local text = table.concat(lines, "\n")
    local count, remarks = 0, {}
    local got = input.read(file_of(text), {
      client = crux.new{ token = "t" }, remark = function(line) remarks[#remarks + 1] = line end,
    })
    for order in input.each(got) do
      count = count + 1
      assert(order.order_uuid == lines[count])
    end
    input.close(got)
    assert.equal(100000, count)
    assert.same({ 100001 }, remarks)
  end)
end)
