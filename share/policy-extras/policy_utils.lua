-- SPDX-License-Identifier: Apache-2.0
--
-- policy_utils - small functions that policies and the other helper modules share.

local kumo = require 'kumo'

local mod = {}

--- Copies every key of `src` into `dest`, over what is there, and returns `dest`.
function mod.merge_into(src, dest)
  for k, v in pairs(src) do
    dest[k] = v
  end
  return dest
end

--- Like merge_into, but where both have a table (and it is no array) these are merged in turn.
function mod.recursive_merge_into(src, dest)
  for k, v in pairs(src) do
    if type(v) == 'table' and type(dest[k]) == 'table' and #v == 0 and #dest[k] == 0 then
      mod.recursive_merge_into(v, dest[k])
    else
      dest[k] = v
    end
  end
  return dest
end

--- True when `text` begins with `prefix`.
function mod.starts_with(text, prefix)
  return text:sub(1, #prefix) == prefix
end

--- True when `text` ends with `suffix`.
function mod.ends_with(text, suffix)
  return suffix == '' or text:sub(-#suffix) == suffix
end

--- The keys of a table, sorted by their text.
function mod.sorted_keys(t)
  local keys = {}
  for k in pairs(t) do
    keys[#keys + 1] = k
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  return keys
end

--- True when the array `list` holds `value`.
function mod.contains(list, value)
  for _, v in ipairs(list) do
    if v == value then
      return true
    end
  end
  return false
end

--- The text of a value: strings quoted, tables with sorted keys.
function mod.dumps(value, depth)
  depth = depth or 0
  if type(value) == 'string' then
    return string.format('%q', value)
  end
  if type(value) ~= 'table' or depth > 16 then
    return tostring(value)
  end
  local parts, n = {}, #value
  for i = 1, n do
    parts[i] = mod.dumps(value[i], depth + 1)
  end
  for _, k in ipairs(mod.sorted_keys(value)) do
    if not (math.type(k) == 'integer' and k >= 1 and k <= n) then
      local name = type(k) == 'string' and k:match '^[%a_][%w_]*$' or '[' .. mod.dumps(k, depth + 1) .. ']'
      parts[#parts + 1] = name .. ' = ' .. mod.dumps(value[k], depth + 1)
    end
  end
  return '{' .. table.concat(parts, ', ') .. '}'
end

local function equal(a, b)
  if a == b then
    return true
  end
  if type(a) ~= 'table' or type(b) ~= 'table' then
    return false
  end
  for k, v in pairs(a) do
    if not equal(v, b[k]) then
      return false
    end
  end
  for k in pairs(b) do
    if a[k] == nil then
      return false
    end
  end
  return true
end

--- Raises an error that shows both values unless they are equal; tables are compared by their contents.
function mod.assert_eq(a, b, message)
  if not equal(a, b) then
    error(string.format('%s%s ~= %s', message and message .. ': ' or '', mod.dumps(a), mod.dumps(b)), 2)
  end
end

local LOADERS = {
  toml = 'toml_load',
  json = 'json_load',
  yaml = 'yaml_load',
  yml = 'yaml_load',
}

--- Reads a data file; the extension of its name says whether it is TOML, JSON or YAML.
function mod.load_data_file(path)
  local extension = path:match '%.(%w+)$'
  local loader = extension and LOADERS[extension:lower()]
  if not loader then
    error(string.format("%s: the name of a data file must end in .toml, .json or .yaml", path), 0)
  end
  return kumo.serde[loader](path)
end

--- Reads data files, checks each against `file_type` and merges them, later ones over earlier ones.
function mod.load_data_files(file_names, file_type)
  local data = {}
  for _, path in ipairs(file_names) do
    local ok, result = file_type:check(mod.load_data_file(path))
    if not ok then
      error(string.format('%s\n\tin file %s', result, path), 0)
    end
    mod.recursive_merge_into(result, data)
  end
  return data
end

--- Turns `load(file_names)` into a function without arguments that is cheap to call for each message.
--
-- kumo.memoize shares the result between Lua contexts; a context keeps hold of it for some seconds. With
-- `invalidate_with_epoch` a change of configuration is seen within a second. What is returned may be read only: by index, pairs,
-- ipairs and #, as it need not be a plain table.
function mod.cached_loader(name, file_names, load, options)
  options = options or {}
  local memoized = kumo.memoize(load, {
    name = name,
    ttl = options.ttl or '1 minute',
    capacity = 10,
    invalidate_with_epoch = options.invalidate_with_epoch,
  })
  local keep_seconds = options.invalidate_with_epoch and 1 or 10
  local data, expires
  return function()
    local now = os.time()
    if not data or now >= expires or now < expires - keep_seconds then
      data = memoized(file_names)
      expires = now + keep_seconds
    end
    return data
  end
end

--- What an error says, without the trace of calls that led to it.
function mod.error_text(err)
  return (tostring(err):gsub('\nstack traceback:.*', ''))
end

--- Used by the handlers of validate_config: prints what is wrong with a helper's files and fails the validation.
function mod.report_issues(kind, file_names, issues)
  print(string.format('Issues found in the combined set of %s files:', kind))
  for _, path in ipairs(file_names) do
    print(' - ' .. path)
  end
  for _, issue in ipairs(issues) do
    print(issue)
  end
  kumo.validation_failed()
end

local function exists(path)
  local f = io.open(path)
  return f and f:close()
end

--- Used by the handlers of validate_config: names the data files whose changes nobody would notice. Globs tell of files that
--- exist only; that one is missing is said when it is loaded.
function mod.warn_unmonitored(module, file_names)
  local monitored = {}
  for _, path in ipairs(kumo.eval_config_monitor_globs()) do
    monitored[path] = true
  end
  for _, path in ipairs(file_names) do
    if not path:find '^https?://' and not monitored[path] and exists(path) then
      print(
        string.format(
          '%s: %s is listed as a data file but it is not covered by the globs set by kumo.set_config_monitor_globs(). '
            .. 'Changes will not be detected at runtime unless the globs are expanded to cover your full set of data files.',
          module,
          path
        )
      )
    end
  end
end

return mod
