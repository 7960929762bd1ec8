-- SPDX-License-Identifier: Apache-2.0
--
-- queue - tenants, campaigns and the settings of scheduled queues from data files.
--
--    local queue_module = require 'policy-extras.queue'
--    local queue_helper = queue_module:setup { '/opt/kumomta/etc/policy/queues.toml' }
--    kumo.on('smtp_server_message_received', function(msg)
--      queue_helper:apply(msg)
--    end)
--
-- with files like
--
--    tenant_header = "X-Tenant"
--    default_tenant = "t1"
--    [tenant.t1]                        # a pool, limits, and every option of kumo.make_queue_config
--    egress_pool = "pool-1"
--    [queue.default]                    # every domain
--    max_age = "24 hours"
--    [queue."gmail.com"]                # this domain
--    [queue."gmail.com".t1]             # this domain and tenant
--    [queue."gmail.com".t1.newsletter]  # and campaign
--
-- What is more specific wins: default, domain, tenant, domain and tenant, domain and tenant and campaign.

local kumo = require 'kumo'
local typing = require 'policy-extras.typing'
local utils = require 'policy-extras.policy_utils'

local mod = {}

local QUEUE_OPTIONS = {
  'egress_pool',
  'max_age',
  'max_message_rate',
  'max_retry_interval',
  'protocol',
  'provider_name',
  'reap_interval',
  'refresh_interval',
  'refresh_strategy',
  'retry_interval',
  'shrink_policy',
  'strategy',
  'timerwheel_tick_interval',
}

-- Options whose value is a table: in [queue.DOMAIN] every other table is a tenant, or below that a campaign.
local TABLE_OPTIONS = { protocol = true, shrink_policy = true, max_message_rate = true, strategy = true }

-- A rate as kumo.make_throttle takes it.
local Rate = {
  name = 'rate',
  is_optional = true,
  check = function(_, value)
    if typing.is_null(value) then
      return true, nil
    end
    local ok, err = pcall(kumo.make_throttle, 'queue-helper-check', value)
    if not ok then
      return false, utils.error_text(err)
    end
    return true, value
  end,
}

local function config_type(name, more_fields)
  return typing.constructed(name, kumo.make_queue_config, {
    names = QUEUE_OPTIONS,
    fields = utils.merge_into(more_fields or {}, {
      routing_domain = typing.option(typing.string),
      overall_max_message_rate = Rate,
    }),
  })
end

local QueueConfig = config_type 'QueueConfig'
local TenantConfig = config_type('TenantConfig', { require_authz = typing.option(typing.list(typing.string)) })

-- Checks a table of [queue] with `levels` levels of tables below it, into { config = OPTIONS, children = { NAME = ... } }.
local function check_nested(value, levels)
  if type(value) ~= 'table' then
    return QueueConfig:check(value)
  end
  local options, children = {}, {}
  for _, k in ipairs(utils.sorted_keys(value)) do
    local v = value[k]
    if type(v) ~= 'table' or TABLE_OPTIONS[k] or levels == 0 then
      options[k] = v
    else
      local ok, child = check_nested(v, levels - 1)
      if not ok then
        return false, string.format("invalid value for '%s'\n%s", k, child)
      end
      children[k] = child
    end
  end
  local ok, config = QueueConfig:check(options)
  if not ok then
    return false, config
  end
  return true, { config = config, children = children }
end

local DomainConfig = {
  name = 'QueueConfig',
  is_composite = true,
  check = function(_, value)
    return check_nested(value, 2)
  end,
}

local QueueHelperConfig = typing.record('QueueHelperConfig', {
  scheduling_header = typing.option(typing.string),
  tenant_header = typing.option(typing.string),
  remove_tenant_header = typing.option(typing.boolean),
  campaign_header = typing.option(typing.string),
  remove_campaign_header = typing.option(typing.boolean),
  default_tenant = typing.option(typing.string),
  tenant = typing.option(typing.map(typing.string, TenantConfig)),
  queue = typing.option(typing.map(typing.string, DomainConfig)),
})

-- Whether the block or one below it has the option.
local function uses_option(node, option)
  if node.config[option] ~= nil then
    return true
  end
  for _, child in pairs(node.children) do
    if uses_option(child, option) then
      return true
    end
  end
  return false
end

-- Whether the option is used anywhere: what nobody asks for should cost nothing.
local function is_used(data, option)
  for _, node in pairs(data.queue) do
    if uses_option(node, option) then
      return true
    end
  end
  for _, tenant in pairs(data.tenant) do
    if tenant[option] ~= nil then
      return true
    end
  end
  return false
end

local function load_data(file_names)
  local data = utils.load_data_files(file_names, QueueHelperConfig)
  data.tenant = data.tenant or {}
  local queues = {}
  for _, domain in ipairs(utils.sorted_keys(data.queue or {})) do
    local name = domain:lower()
    queues[name] = utils.recursive_merge_into(data.queue[domain], queues[name] or {})
  end
  data.queue = queues
  data.has_overall_rates = is_used(data, 'overall_max_message_rate')
  data.has_routing_domains = is_used(data, 'routing_domain')
  return data
end

-- The layers of settings that apply to a queue, the weakest first. Each is { scope = NAME, config = OPTIONS }.
local function layers(data, domain, tenant, campaign)
  local found = {}
  local function add(scope, config)
    if config then
      found[#found + 1] = { scope = scope, config = config }
    end
  end
  local domain_node = domain and domain ~= 'default' and data.queue[domain:lower()]
  add('default', data.queue.default and data.queue.default.config)
  add(string.format('domain-%s', domain), domain_node and domain_node.config)
  add(string.format('tenant-%s', tenant), tenant and data.tenant[tenant])
  for _, base in ipairs { 'default', 'domain' } do
    local node = base == 'default' and data.queue.default or domain_node
    local tenant_node = node and tenant and node.children[tenant]
    local campaign_node = tenant_node and campaign and tenant_node.children[campaign]
    local name = base == 'default' and 'default' or domain
    add(string.format('queue-%s@%s', tenant, name), tenant_node and tenant_node.config)
    add(string.format('queue-%s:%s@%s', campaign, tenant, name), campaign_node and campaign_node.config)
  end
  return found
end

local OWN_FIELDS = { 'require_authz', 'overall_max_message_rate', 'routing_domain' }

local function resolve_config(data, domain, tenant, campaign)
  local params = {}
  for _, layer in ipairs(layers(data, domain, tenant, campaign)) do
    utils.merge_into(layer.config, params)
  end
  local routing_domain = params.routing_domain
  for _, name in ipairs(OWN_FIELDS) do
    params[name] = nil
  end
  return params, routing_domain
end

-- Refuses the message unless its sender logged in as one of those that may use the tenant.
local function check_authz(msg, tenant_name, tenant)
  if not tenant or not tenant.require_authz then
    return
  end
  local authz_id = msg:get_meta 'authz_id' or msg:get_meta 'http_auth'
  if not authz_id or not utils.contains(tenant.require_authz, authz_id) then
    kumo.reject(550, string.format("5.7.1 you are not authorized to send as tenant '%s'", tenant_name))
  end
end

local function header_value(msg, name)
  if not name then
    return nil
  end
  local value = msg:get_first_named_header_value(name)
  if value == '' then
    return nil
  end
  return value
end

local function apply(data, msg)
  if data.scheduling_header then
    msg:import_scheduling_header(data.scheduling_header, true)
  end

  local tenant = header_value(msg, data.tenant_header)
  if tenant then
    check_authz(msg, tenant, data.tenant[tenant])
  end
  if data.tenant_header and data.remove_tenant_header then
    msg:remove_all_named_headers(data.tenant_header)
  end
  tenant = tenant or msg:get_meta 'tenant' or data.default_tenant
  if tenant then
    msg:set_meta('tenant', tenant)
  end

  local campaign = header_value(msg, data.campaign_header)
  if data.campaign_header and data.remove_campaign_header then
    msg:remove_all_named_headers(data.campaign_header)
  end
  campaign = campaign or msg:get_meta 'campaign'
  if campaign then
    msg:set_meta('campaign', campaign)
  end

  if data.has_routing_domains and not msg:get_meta 'routing_domain' then
    local _, routing_domain = resolve_config(data, msg:recipient_list()[1].domain, tenant, campaign)
    if routing_domain then
      msg:set_meta('routing_domain', routing_domain)
    end
  end
end

-- The domain, tenant and campaign in the name of a scheduled queue, CAMPAIGN:TENANT@DOMAIN!ROUTING.
local function parse_queue_name(name)
  local owner, rest = name:match '^(.-)@(.*)$'
  local campaign, tenant = nil, owner
  if owner and owner:find(':', 1, true) then
    campaign, tenant = owner:match '^(.-):(.*)$'
  end
  local domain = (rest or name):gsub('!.*$', '')
  return domain, tenant ~= '' and tenant or nil, campaign
end

-- Delays the message unless every limit of a scope that it belongs to has room for it.
local function throttle(data, msg)
  if not data.has_overall_rates then
    return
  end
  for _, layer in ipairs(layers(data, parse_queue_name(msg:queue_name()))) do
    local rate = layer.config.overall_max_message_rate
    if rate then
      local t = kumo.make_throttle('queue-helper-' .. layer.scope, rate)
      if t:delay_message_if_throttled(msg) then
        return
      end
    end
  end
end

-- Queues of log hooks and of the automation daemon are none of our business, whatever the order of the set-up calls.
local function is_log_queue(domain)
  return utils.ends_with(domain, '.log_hook') or utils.ends_with(domain, '.tsa.kumomta')
end

local function find_issues(data)
  local issues = {}
  local sources = require 'policy-extras.sources'
  local function check_pool(what, config)
    local pool = config.egress_pool
    if pool and sources:is_configured() and not sources:has_pool(pool) then
      issues[#issues + 1] =
        string.format("%s uses pool '%s' which is not present in your sources helper data", what, pool)
    end
  end
  local function check_node(what, node)
    check_pool(what, node.config)
    for _, name in ipairs(utils.sorted_keys(node.children)) do
      check_node(string.format("%s '%s'", what, name), node.children[name])
    end
  end
  for _, name in ipairs(utils.sorted_keys(data.tenant)) do
    check_pool(string.format("tenant '%s'", name), data.tenant[name])
  end
  for _, name in ipairs(utils.sorted_keys(data.queue)) do
    check_node(string.format("queue '%s'", name), data.queue[name])
  end
  return issues
end

local SetupOptions = typing.record('queue:setup_with_options', {
  file_names = typing.list(typing.string),
  skip_queue_config_hook = typing.option(typing.boolean),
  invalidate_with_epoch = typing.option(typing.boolean),
})

--- Like setup(), with a table of options:
--   file_names              the data files
--   skip_queue_config_hook  don't handle get_queue_config; the policy does, with the help of resolve_config()
--   invalidate_with_epoch   read the files again as soon as the configuration epoch changes
function mod:setup_with_options(options)
  options = SetupOptions(options)
  local get_data = utils.cached_loader('queue_helper_data', options.file_names, load_data, {
    ttl = '5 minutes',
    invalidate_with_epoch = options.invalidate_with_epoch,
  })
  local helper = { file_names = options.file_names }

  --- Sets tenant, campaign, schedule and routing domain of a message that was just received.
  function helper:apply(msg)
    apply(get_data(), msg)
  end

  --- The parameters for kumo.make_queue_config that the files hold for a queue.
  function helper:resolve_config(domain, tenant, campaign)
    return (resolve_config(get_data(), domain, tenant, campaign))
  end

  if not options.skip_queue_config_hook then
    kumo.on('get_queue_config', function(domain, tenant, campaign, _routing_domain)
      if is_log_queue(domain) then
        return
      end
      local params = resolve_config(get_data(), domain, tenant, campaign)
      params.refresh_strategy = params.refresh_strategy or 'Epoch'
      return kumo.make_queue_config(params)
    end)
  end

  -- An event costs something for every message: handle it only when there is a limit, or when that isn't known yet.
  local ok, data = pcall(get_data)
  if not ok or data.has_overall_rates then
    kumo.on('throttle_insert_ready_queue', function(msg)
      throttle(get_data(), msg)
    end)
  end

  kumo.on('validate_config', function()
    local now = load_data(options.file_names)
    utils.warn_unmonitored('queue.lua', options.file_names)
    local issues = find_issues(now)
    if #issues > 0 then
      utils.report_issues('queue', options.file_names, issues)
    end
  end)

  return helper
end

--- Handles get_queue_config from the data in the listed files; returns a helper for messages, see apply().
function mod:setup(file_names)
  return self:setup_with_options { file_names = file_names }
end

return mod
