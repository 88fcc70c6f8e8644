-- What docs/generate.lua writes is checked in, and is what lua/crux/api.lua and the comments of lua/ give (#tree).
local files = require "spec.support.files"

local lines, read, write = files.lines, files.read, files.write

local FILES = {
  "README.md", "csrc/api.c", "docs/reference.md", "library/config.json", "library/crux.lua", "library/crux/core.lua",
  "library/crux/fleet.lua", "library/crux/mock.lua", "library/crux/resty.lua",
}

describe("what is generated #tree", function()
  local directory

  before_each(function()
    directory = lines('mktemp -d "${TMPDIR:-/tmp}/crux-spec.XXXXXX"')[1]
    assert.same({}, lines(("mkdir -p '%s'/csrc '%s'/docs '%s'/library/crux"):format(directory, directory, directory)))
  end)
  after_each(function() os.execute("rm -r '" .. directory .. "'") end)

  local function generate(lua, where)
    return lines(("cd '%s' && env -u LUA_INIT -u LUA_PATH -u LUA_CPATH %s docs/generate.lua '%s'"):format(
      where or ".", lua, directory))
  end

  for _, lua in ipairs{ "lua5.1", "lua5.2", "lua5.3", "lua5.4", "luajit" } do
    it("is the same under " .. lua .. " as what is checked in", function()
      if #lines("command -v " .. lua) == 0 then return pending(lua .. " is not there") end
      local written = generate(lua)
      table.sort(written)
      local expected = {}
      for i, path in ipairs(FILES) do expected[i] = (" %s/%s"):format(directory, path) end
      assert.same(expected, written)
      for _, path in ipairs(FILES) do
        assert.is_true(read(path) == read(directory .. "/" .. path), path .. " is not what `make generate` writes")
      end
    end)
  end

  it("is all that there is in library/", function()
    generate("lua5.4")
    local function found(where) return lines(("cd '%s' && find library -type f | sort"):format(where)) end
    assert.same(found(directory), found("."))
  end)

  it("is written only where it differs", function()
    generate("lua5.4")
    assert.same({}, generate("lua5.4"))
    write(directory .. "/csrc/api.c", "")
    assert.same({ (" %s/csrc/api.c"):format(directory) }, generate("lua5.4"))
  end)

  -- Copies what is read, and changes one of its files.
  local function copy(path, from, to)
    local tree = directory .. "/tree"
    lines(("mkdir '%s' && cp -r README.md csrc docs lua library '%s'"):format(tree, tree))
    local text, count = read(tree .. "/" .. path):gsub(from, to)
    assert.is_true(count > 0)
    write(tree .. "/" .. path, text)
    return tree
  end

  for _, row in ipairs{
    { "a README without a marker", "README.md", "<!%-%- generated: options %-%->\n", "",
      "README.md: expected <!-- generated: options --> and <!-- end -->" },
    { "a field of an unknown type", "lua/crux/api.lua", '"list of sku"', '"list of skus"',
      "expected a type of lua/crux/api.lua, found 'list of skus' of skus" },
    { "a field in a path that is none of the endpoint's", "lua/crux/api.lua", "/orders/{order_uuid}/",
      "/orders/{order}/", "get_order: expected a required uuid field 'order', for the path" },
    { "an unknown generation", "lua/crux/api.lua", 'batch = "cancel_orders"', 'generations = { "v2" }',
      "cancel_order: expected a generation, found 'v2'" },
    { "an endpoint to look with that is none", "lua/crux/api.lua", 'look = "get_order"', 'look = "get_orders"',
      "cancel_order: expected the name of an endpoint, found 'get_orders'" },
  } do
    it("is refused of " .. row[1], function()
      local out = table.concat(generate("lua5.4", copy(row[2], row[3], row[4])), "\n")
      assert.is_truthy(out:find(row[5], 1, true), out)
    end)
  end
end)

describe("make install #tree", function()
  it("puts the definitions where no package.path looks, and make uninstall leaves nothing", function()
    local root = lines('mktemp -d "${TMPDIR:-/tmp}/crux-spec.XXXXXX"')[1]
    finally(function() os.execute("rm -r '" .. root .. "'") end)
    -- nothing is built: any file serves as the C module
    local make = ("env -u MAKEFLAGS -u MAKELEVEL make -s -o all %%s CORE=README.md PREFIX=/usr/local DESTDIR='%s' "
      .. "LUA=lua5.4"):format(root)
    lines(make:format("install"))
    local found = lines(("cd '%s/usr/local/share/crux' && find . -type f | sort"):format(root))
    assert.same({
      "./luals/config.json", "./luals/library/crux.lua", "./luals/library/crux/core.lua",
      "./luals/library/crux/fleet.lua", "./luals/library/crux/mock.lua", "./luals/library/crux/resty.lua",
    }, found)
    assert.equal(read("library/crux.lua"), read(root .. "/usr/local/share/crux/luals/library/crux.lua"))
    lines(make:format("uninstall"))
    assert.same({}, lines(("find '%s' -type f"):format(root)))
    assert.same({}, lines(("find '%s' -name crux"):format(root)))
  end)
end)
