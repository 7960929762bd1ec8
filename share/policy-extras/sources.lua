-- SPDX-License-Identifier: Apache-2.0
--
-- sources - egress sources and pools from data files.
--
--    local sources = require 'policy-extras.sources'
--    sources:setup { '/opt/kumomta/etc/policy/sources.toml' }
--
-- with files like
--
--    [source."ip-1"]
--    source_address = "10.0.0.1"      # and every other option of kumo.make_egress_source
--    ehlo_domain = "mta1.example.com"
--
--    [pool."pool-1"."ip-1"]
--    weight = 2

local kumo = require 'kumo'
local typing = require 'policy-extras.typing'
local utils = require 'policy-extras.policy_utils'

local mod = {}

local SourceConfig = typing.constructed('SourceConfig', kumo.make_egress_source, {
  base = { name = 'check' },
  names = {
    'ehlo_domain',
    'ha_proxy_server',
    'ha_proxy_source_address',
    'remote_port',
    'socks5_proxy_password',
    'socks5_proxy_server',
    'socks5_proxy_source_address',
    'socks5_proxy_username',
    'source_address',
    'suspend_when_proxy_unhealthy',
    'suspend_when_unplumbed',
    'ttl',
  },
})

local PoolSourceEntry = typing.record('PoolSourceEntry', {
  weight = typing.option(typing.number),
})

local SourcesHelperConfig = typing.record('SourcesHelperConfig', {
  source = typing.option(typing.map(typing.string, SourceConfig)),
  pool = typing.option(typing.map(typing.string, typing.map(typing.string, PoolSourceEntry))),
})

local function load_data(file_names)
  local data = utils.load_data_files(file_names, SourcesHelperConfig)
  data.source = data.source or {}
  data.pool = data.pool or {}
  return data
end

local function make_source(data, name)
  local source = data.source[name]
  if not source then
    error(string.format("source '%s' is not defined in your sources helper data", name), 0)
  end
  return kumo.make_egress_source(utils.merge_into({ name = name }, utils.merge_into(source, {})))
end

local function make_pool(data, name)
  local pool = data.pool[name]
  if not pool then
    error(string.format("pool '%s' is not defined in your sources helper data", name), 0)
  end
  local entries = {}
  for _, source in ipairs(utils.sorted_keys(pool)) do
    entries[#entries + 1] = { name = source, weight = pool[source].weight }
  end
  return kumo.make_egress_pool { name = name, entries = entries }
end

-- What setup() was called with; nil before that. Other helpers check their own data against it.
local configured

--- True once setup() was called.
function mod:is_configured()
  return configured ~= nil
end

--- True when a source of that name is in the data files.
function mod:has_source(name)
  return name == 'unspecified' or configured.data().source[name] ~= nil
end

--- True when a pool of that name is in the data files.
function mod:has_pool(name)
  return name == 'unspecified' or configured.data().pool[name] ~= nil
end

local function find_issues(data)
  local issues = {}
  local function attempt(kind, make, name)
    local ok, err = pcall(make, data, name)
    if not ok then
      issues[#issues + 1] = string.format("%s '%s': %s", kind, name, utils.error_text(err))
    end
  end
  for _, name in ipairs(utils.sorted_keys(data.source)) do
    attempt('source', make_source, name)
  end
  for _, name in ipairs(utils.sorted_keys(data.pool)) do
    attempt('pool', make_pool, name)
    for _, source in ipairs(utils.sorted_keys(data.pool[name])) do
      if not data.source[source] and source ~= 'unspecified' then
        issues[#issues + 1] = string.format("pool '%s' references source '%s' which is not defined", name, source)
      end
    end
  end
  return issues
end

--- Handles get_egress_source and get_egress_pool from the data in the listed files.
function mod:setup(file_names)
  if configured then
    error('policy-extras.sources: setup can be called only once; list all your files in one call', 2)
  end
  configured = {
    file_names = file_names,
    data = utils.cached_loader('sources_data', file_names, load_data),
  }

  kumo.on('get_egress_source', function(name)
    return make_source(configured.data(), name)
  end)
  kumo.on('get_egress_pool', function(name)
    return make_pool(configured.data(), name)
  end)
  kumo.on('validate_config', function()
    local issues = find_issues(load_data(file_names))
    if #issues > 0 then
      utils.report_issues('sources', file_names, issues)
    end
  end)
end

return mod
