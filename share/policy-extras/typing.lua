-- SPDX-License-Identifier: Apache-2.0
--
-- typing - checks tables that came out of data files or out of a caller's hands.
--
-- A type is an object that is called with a value and returns the checked value, or raises an error which says
-- where the value is, what was expected and, for a misspelt name, what was probably meant:
--
--    local typing = require 'policy-extras.typing'
--    local Options = typing.record('Options', {
--      name = typing.string,
--      files = typing.list(typing.string),
--      verbose = typing.default(typing.boolean, true),
--      hook = typing.option(typing.func),
--    })
--    local opts = Options { name = 'x', files = {} }
--
-- `type:check(value)` does the same without raising: it returns true and the value, or false and the message.
-- Values are copied, never changed in place. A null from JSON counts as a value that is not there.
--
-- Lines of a message that begin with a tab are hints; the other lines name the path to the bad value, outermost first.

local mod = {}

local Type = {}
Type.__index = Type

function Type:__call(value)
  local ok, result = self:check(value)
  if not ok then
    error(result, 0)
  end
  return result
end

function Type:__tostring()
  return self.name
end

local function new_type(name, check, fields)
  local t = fields or {}
  t.name, t.check = name, check
  return setmetatable(t, Type)
end

--- True for nil and for the null values that decoders of JSON produce.
function mod.is_null(value)
  return value == nil or (type(value) == 'userdata' and getmetatable(value) == nil)
end

local function describe(value)
  if type(value) == 'string' or type(value) == 'number' or type(value) == 'boolean' then
    return string.format("'%s' '%s'", type(value), tostring(value))
  end
  return string.format("'%s'", type(value))
end

-- The number of insertions, deletions, replacements and swaps of neighbours that turn a into b.
local function edit_distance(a, b)
  local before, last, row = nil, {}, nil
  for j = 0, #b do
    last[j] = j
  end
  for i = 1, #a do
    row = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last = last, row
  end
  return last[#b]
end

--- The one of `names` that `name` is most likely a misspelling of, or nil when none is close.
function mod.nearest(name, names)
  local best, best_distance = nil, math.max(1, #name // 3) + 1
  for _, candidate in ipairs(names) do
    local d = edit_distance(name:lower(), candidate:lower())
    if d < best_distance then
      best, best_distance = candidate, d
    end
  end
  return best
end

local function sorted_names(t)
  local names = {}
  for k in pairs(t) do
    names[#names + 1] = k
  end
  table.sort(names)
  return names
end

-- The hint below "unknown field": what was probably meant, else what there is.
local function hint(name, names)
  local near = type(name) == 'string' and mod.nearest(name, names)
  if near then
    return string.format("\n\tdid you mean '%s'?", near)
  end
  if #names > 0 then
    return '\n\tknown fields are: ' .. table.concat(names, ', ')
  end
  return ''
end

-- How the message about an inner value continues below the line that says where it stands.
local function nested(inner, message)
  if inner.is_composite then
    return string.format("Expected value of type '%s' and encountered an error during coercion\n%s", inner.name, message)
  end
  return message
end

local function primitive(name, test)
  return new_type(name, function(_, value)
    if test(value) then
      return true, value
    end
    return false, string.format("Expected '%s', got %s", name, describe(value))
  end)
end

local function is_a(lua_type)
  return function(value)
    return type(value) == lua_type
  end
end

mod.string = primitive('string', is_a 'string')
mod.number = primitive('number', is_a 'number')
mod.boolean = primitive('boolean', is_a 'boolean')
mod.func = primitive('function', is_a 'function')
mod.table = primitive('table', is_a 'table')
mod.integer = primitive('integer', function(value)
  return math.type(value) == 'integer' or (math.type(value) == 'float' and math.tointeger(value) ~= nil)
end)
mod.any = new_type('any', function(_, value)
  return true, value
end)

--- One of the given constants.
function mod.enum(name, ...)
  local choices, shown = {}, {}
  for _, c in ipairs { ... } do
    choices[c] = true
    shown[#shown + 1] = string.format("'%s'", c)
  end
  return new_type(name, function(_, value)
    if not mod.is_null(value) and choices[value] then
      return true, value
    end
    return false, string.format('Expected %s to be one of %s, got %s', name, table.concat(shown, ', '), describe(value))
  end)
end

--- A value that may be left out.
function mod.option(inner)
  return new_type(inner.name, function(_, value)
    if mod.is_null(value) then
      return true, nil
    end
    return inner:check(value)
  end, { is_composite = inner.is_composite, is_optional = true })
end

--- A value that may be left out, and what it is then. An explicit `false` is not the same as leaving it out.
function mod.default(inner, default)
  return new_type(inner.name, function(_, value)
    if mod.is_null(value) then
      return true, default
    end
    return inner:check(value)
  end, { is_composite = inner.is_composite, is_optional = true })
end

--- The first of several types that accepts the value.
function mod.either(...)
  local types, names = { ... }, {}
  for i, t in ipairs(types) do
    names[i] = t.name
  end
  local name = table.concat(names, '|')
  return new_type(name, function(_, value)
    for _, t in ipairs(types) do
      local ok, result = t:check(value)
      if ok then
        return true, result
      end
    end
    return false, string.format("Expected '%s', got %s", name, describe(value))
  end)
end

--- An array; `inner` is the type of each element.
function mod.list(inner)
  local name = 'list<' .. inner.name .. '>'
  return new_type(name, function(_, value)
    if type(value) ~= 'table' then
      return false, string.format("Expected '%s', got %s", name, describe(value))
    end
    local out = {}
    for k, v in pairs(value) do
      if math.type(k) ~= 'integer' or k < 1 or k > #value then
        return false, string.format("%s: unexpected key '%s' in an array", name, tostring(k))
      end
      local ok, result = inner:check(v)
      if not ok then
        return false, string.format('%s: invalid value for element %d\n%s', name, k, nested(inner, result))
      end
      out[k] = result
    end
    return true, out
  end, { is_composite = true })
end

--- A table from any key of type `key` to a value of type `inner`.
function mod.map(key, inner)
  local name = string.format('map<%s,%s>', key.name, inner.name)
  return new_type(name, function(_, value)
    if type(value) ~= 'table' then
      return false, string.format("Expected '%s', got %s", name, describe(value))
    end
    local out = {}
    for k, v in pairs(value) do
      local ok, result = key:check(k)
      if not ok then
        return false, string.format("%s: invalid key '%s'\n%s", name, tostring(k), nested(key, result))
      end
      local key_value = result
      ok, result = inner:check(v)
      if not ok then
        return false, string.format("%s: invalid value for key '%s'\n%s", name, tostring(k), nested(inner, result))
      end
      out[key_value] = result
    end
    return true, out
  end, { is_composite = true })
end

-- Checks the fields of `value` that `fields` knows into out; returns the names of those that it doesn't, sorted.
local function check_fields(name, fields, value, out)
  local unknown = {}
  for k in pairs(value) do
    if not fields[k] then
      unknown[#unknown + 1] = k
    end
  end
  table.sort(unknown, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for _, k in ipairs(sorted_names(fields)) do
    local field = fields[k]
    if mod.is_null(value[k]) and not field.is_optional then
      return nil, string.format("%s: missing value for field '%s' of type '%s'", name, k, field.name)
    end
    local ok, result = field:check(value[k])
    if not ok then
      return nil, string.format("%s: invalid value for field '%s'\n%s", name, k, nested(field, result))
    end
    out[k] = result
  end
  return unknown
end

--- A table with exactly the named fields.
function mod.record(name, fields)
  return new_type(name, function(_, value)
    if type(value) ~= 'table' then
      return false, string.format("Expected '%s', got %s", name, describe(value))
    end
    local out = {}
    local unknown, err = check_fields(name, fields, value, out)
    if not unknown then
      return false, err
    end
    if unknown[1] ~= nil then
      return false, string.format("%s: unknown field '%s'%s", name, tostring(unknown[1]), hint(unknown[1], sorted_names(fields)))
    end
    return true, out
  end, { is_composite = true, fields = fields })
end

-- An error of a constructor in one line, without the place in the source that raised it.
local function first_line(err)
  local text = tostring(err):gsub('\nstack traceback:.*', ''):gsub('\n.*', '')
  return (text:gsub('^[^%s:]+%.lua:%d+: ', ''):gsub('^%[C%]: ', ''):gsub('^deserialize error: ', ''):gsub(', while processing .*', ''))
end

-- "make_egress_path.FIELD: …" says again what the line above said.
local function without_path(text, field)
  local path, rest = text:match '^([%w_.]+): (.*)$'
  return path and path:sub(-#field - 1) == '.' .. field and rest or text
end

--- The options of one of the constructors of the kumo module, plus some fields of our own.
--
-- `construct` is called with the options to try them, so that the list of options, their types and the messages about
-- them stand in one place. Options: `base`, a table that is merged in to make the call valid; `fields`, our own fields,
-- which `construct` never sees; `names`, the names of the constructor's options, for hints only.
function mod.constructed(name, construct, options)
  local fields, base = options.fields or {}, options.base or {}
  local names = sorted_names(fields)
  for _, n in ipairs(options.names or {}) do
    names[#names + 1] = n
  end

  local function try(params)
    local all = {}
    for k, v in pairs(base) do
      all[k] = v
    end
    for k, v in pairs(params) do
      all[k] = v
    end
    return pcall(construct, all)
  end

  return new_type(name, function(_, value)
    if type(value) ~= 'table' then
      return false, string.format("Expected '%s', got %s", name, describe(value))
    end
    local out, params = {}, {}
    local rest, err = check_fields(name, fields, value, out)
    if not rest then
      return false, err
    end
    for _, k in ipairs(rest) do
      out[k], params[k] = value[k], value[k]
    end
    local ok
    ok, err = try(params)
    if ok then
      return true, out
    end
    for _, k in ipairs(rest) do -- which one is it?
      ok, err = try { [k] = value[k] }
      if not ok then
        if tostring(err):find 'unknown field' then
          return false, string.format("%s: unknown field '%s'%s", name, tostring(k), hint(k, names))
        end
        return false, string.format("%s: invalid value for field '%s'\n%s", name, tostring(k), without_path(first_line(err), k))
      end
    end
    ok, err = try(params)
    return false, string.format('%s: %s', name, first_line(err)) -- each is good, not all together
  end, { is_composite = true, fields = fields })
end

return mod
