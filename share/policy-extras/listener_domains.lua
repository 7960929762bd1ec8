-- SPDX-License-Identifier: Apache-2.0
--
-- listener_domains - which domains may be relayed to or from, and which take bounces and feedback reports.
--
--    local listener_domains = require 'policy-extras.listener_domains'
--    kumo.on('get_listener_domain', listener_domains:setup { '/opt/kumomta/etc/policy/listener_domains.toml' })
--
-- with files like
--
--    ["*"]                  # every domain without an entry that fits it better
--    log_arf = true
--    ["*.example.com"]      # everything below example.com, but not example.com
--    relay_to = true
--    ["send.example.com"]   # from this sender domain to anywhere, for these peers or these logged in users
--    relay_from = ["10.0.0.0/24"]
--    relay_from_authz = ["user1"]
--    [listener."127.0.0.1:25"."example.com"]   # for one listener, instead of what is said elsewhere
--    relay_to = false

local kumo = require 'kumo'
local typing = require 'policy-extras.typing'
local utils = require 'policy-extras.policy_utils'

local mod = {}

local ListenerConfig = typing.constructed('ListenerConfig', kumo.make_listener_domain, {
  fields = { relay_from_authz = typing.option(typing.list(typing.string)) },
  names = { 'log_arf', 'log_oob', 'relay_from', 'relay_to', 'ttl' },
})

local DomainMap = typing.map(typing.string, ListenerConfig)
local ListenerMap = typing.map(typing.string, DomainMap)

local function lower_keys(domains)
  local out = {}
  for domain, config in pairs(domains) do
    out[domain:lower()] = config
  end
  return out
end

-- One of the files: domains at the top level, beside them perhaps a table `listener` of such maps.
local ListenerDomainsFile = {
  check = function(_, value)
    if type(value) ~= 'table' then
      return DomainMap:check(value)
    end
    local domains = utils.merge_into(value, {})
    domains.listener = nil
    local ok, by_domain = DomainMap:check(domains)
    if not ok then
      return false, by_domain
    end
    local by_listener = {}
    if not typing.is_null(value.listener) then
      ok, by_listener = ListenerMap:check(value.listener)
      if not ok then
        return false, "invalid value for 'listener'\n" .. by_listener
      end
    end
    for name, map in pairs(by_listener) do
      by_listener[name] = lower_keys(map)
    end
    return true, { by_domain = lower_keys(by_domain), by_listener = by_listener }
  end,
}

local function load_data(file_names)
  return utils.load_data_files(file_names, ListenerDomainsFile)
end

-- The entry for a domain: its own, else that of the closest "*.parent", else that of "*".
local function lookup(domains, domain)
  local found = domains[domain]
  local parent = domain
  while not found do
    parent = parent:match '^[^.]*%.(.+)$'
    if not parent then
      return domains['*']
    end
    found = domains['*.' .. parent]
  end
  return found
end

-- The parameters for kumo.make_listener_domain.
local function resolve(config, conn_meta)
  local params = utils.merge_into(config, {})
  params.relay_from_authz = nil
  if config.relay_from_authz and conn_meta then
    local authz_id = conn_meta:get_meta 'authz_id'
    if authz_id and utils.contains(config.relay_from_authz, authz_id) then
      params.relay_from = { '0.0.0.0/0', '::/0' }
    end
  end
  return params
end

--- Returns a handler for get_listener_domain that answers from the data in the listed files.
function mod:setup(file_names)
  local get_data = utils.cached_loader('listener_domains_data', file_names, load_data)

  kumo.on('validate_config', function()
    local ok, err = pcall(load_data, file_names)
    if not ok then
      utils.report_issues('listener_domain', file_names, { utils.error_text(err) })
    end
  end)

  return function(domain, listener, conn_meta)
    local data = get_data()
    domain = domain:lower()
    local for_listener = data.by_listener and data.by_listener[listener]
    local config = for_listener and lookup(for_listener, domain) or (data.by_domain and lookup(data.by_domain, domain))
    if config then
      return kumo.make_listener_domain(resolve(config, conn_meta))
    end
  end
end

return mod
