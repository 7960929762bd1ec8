-- SPDX-License-Identifier: Apache-2.0
--
-- shaping - egress paths from shaping files, and the link to the traffic shaping automation daemon.
--
--    local shaping = require 'policy-extras.shaping'
--    kumo.on('get_egress_path_config', shaping:setup { '/opt/kumomta/etc/policy/shaping.toml' })
--
-- or, with the daemon,
--
--    local shaper = shaping:setup_with_automation {
--      publish = { 'http://127.0.0.1:8008' },     -- log records go there
--      subscribe = { 'http://127.0.0.1:8008' },   -- suspensions, bounces and settings come from there
--      extra_files = { '/opt/kumomta/etc/policy/shaping.toml' },
--    }
--    kumo.on('init', function()
--      shaper.setup_publish()
--    end)
--    kumo.on('get_egress_path_config', shaper.get_egress_path_config)

local kumo = require 'kumo'
local typing = require 'policy-extras.typing'
local utils = require 'policy-extras.policy_utils'

local mod = {}

local RECONNECT_SECONDS = 10

-- Records that automation rules have no use for: they are no answers of a remote host.
local SKIP_RECORD_TYPES = {
  'AdminBounce',
  'AdminRebind',
  'DeferredInjectionRebind',
  'Delayed',
  'Expiration',
  'Feedback',
  'Reception',
  'Rejection',
  'XferIn',
  'XferOut',
}

-- The shaping file that stands beside this one.
local function default_file()
  local here = package.searchpath('policy-extras.shaping', package.path)
  return here and (here:gsub('shaping%.lua$', 'shaping.toml')) or '/opt/kumomta/share/policy-extras/shaping.toml'
end

-- The list of files to load, each once.
local function file_list(with_default, ...)
  local seen, list = {}, {}
  local function add(path)
    if not seen[path] then
      seen[path] = true
      list[#list + 1] = path
    end
  end
  if with_default then
    add(default_file())
  end
  for _, more in ipairs { ... } do
    for _, path in ipairs(more) do
      add(path)
    end
  end
  return list
end

local function is_log_record_queue(domain)
  return utils.ends_with(domain, '.tsa.kumomta')
end

local function load_and_log(files, options)
  local shaping = kumo.shaping.load(files, options)
  for _, text in ipairs(shaping:get_errors()) do
    kumo.log_error('shaping: ' .. text)
  end
  return shaping
end

local load_shaping = kumo.memoize(load_and_log, {
  name = 'shaping_data',
  ttl = '1 minute',
  capacity = 10,
  invalidate_with_epoch = true,
})

local function report(list)
  for _, text in ipairs(list) do
    print('shaping: ' .. text)
    kumo.validation_failed()
  end
end

-- Sources that the shaping files name, but the sources helper doesn't know.
local function check_sources(shaping)
  local sources = require 'policy-extras.sources'
  if not sources:is_configured() then
    return
  end
  local referenced = shaping:get_referenced_sources()
  local missing = {}
  for _, name in ipairs(utils.sorted_keys(referenced)) do
    if not sources:has_source(name) then
      missing[#missing + 1] = string.format(
        "source '%s' is not present in your sources helper data; it is referenced by %s",
        name,
        table.concat(referenced[name], ', ')
      )
    end
  end
  report(missing)
end

local function local_only(files)
  local list = {}
  for _, path in ipairs(files) do
    if not path:find '^https?://' then
      list[#list + 1] = path
    end
  end
  return list
end

local function register_validation(files, options)
  kumo.on('validate_config', function()
    local own_files = {}
    for _, path in ipairs(files) do
      if path ~= default_file() then -- that one changes with an update of the package only
        own_files[#own_files + 1] = path
      end
    end
    utils.warn_unmonitored('shaping.lua', own_files)
    local load_options = utils.merge_into(options or {}, { remote_load = 'Error' })
    local shaping = kumo.shaping.load(load_options.skip_remote and local_only(files) or files, load_options)
    report(shaping:get_errors())
    report(shaping:get_warnings())
    check_sources(shaping)
  end)
end

-- A handler for get_egress_path_config.
local function path_config_handler(files, load_options)
  return function(domain, source, site_name)
    local params = load_shaping(files, load_options):get_egress_path_config(domain, source, site_name)
    params.refresh_strategy = params.refresh_strategy or 'Epoch'
    return kumo.make_egress_path(params)
  end
end

local SetupOptions = typing.record('shaping:setup', {
  no_default_files = typing.default(typing.boolean, false),
  load_validation_options = typing.option(typing.table),
  validation_options = typing.option(typing.table),
})

--- Returns a handler for get_egress_path_config that answers from the default file and the listed ones.
function mod:setup(extra_files, options)
  options = SetupOptions(options or {})
  local files = file_list(not options.no_default_files, extra_files or {})
  register_validation(files, options.validation_options)
  return path_config_handler(files, options.load_validation_options)
end

local AutomationOptions = typing.record('shaping:setup_with_automation', {
  publish = typing.default(typing.list(typing.string), {}),
  subscribe = typing.default(typing.list(typing.string), {}),
  extra_files = typing.default(typing.list(typing.string), {}),
  no_default_files = typing.default(typing.boolean, false),
  load_validation_options = typing.option(typing.table),
  validation_options = typing.option(typing.table),
  pre_filter = typing.default(typing.boolean, true),
  back_pressure = typing.option(typing.integer),
  skip_log_record_types = typing.default(typing.list(typing.string), SKIP_RECORD_TYPES),
  additional_skip_log_record_types = typing.default(typing.list(typing.string), {}),
})

local function without_trailing_slash(urls)
  local out = {}
  for i, url in ipairs(urls) do
    out[i] = url:gsub('/+$', '')
  end
  return out
end

-- Publishing -------------------------------------------------------------------------------------------------------

-- A connection that POSTs log records to a daemon.
local function make_publisher(url)
  local connection = {}
  local client = kumo.http.build_client {}

  function connection:send(message)
    local response =
      client:post(url .. '/publish_log_v1'):header('Content-Type', 'application/json'):body(message:get_data()):send()
    local status = response:status_code()
    local disposition = string.format('%d %s: %s', status, response:status_reason(), response:text())
    if response:status_is_success() then
      return disposition
    end
    -- A record that the daemon can't read won't be any better later; everything else is worth another attempt.
    kumo.reject((status == 400 or status == 422) and 500 or 400, disposition)
  end

  function connection:close()
    client:close()
  end

  return connection
end

-- Registers the events that carry log records to one daemon; returns what is left to do in the init event.
local function register_publisher(url, options, match_rules)
  local queue_name = url .. '.tsa.kumomta'
  local constructor_event = 'make.' .. queue_name
  local per_record = {}
  for _, list in ipairs { options.skip_log_record_types, options.additional_skip_log_record_types } do
    for _, record_type in ipairs(list) do
      per_record[record_type] = { enable = false }
    end
  end

  kumo.on('should_enqueue_log_record', function(msg, hook_name)
    if hook_name ~= queue_name then
      return
    end
    local record = msg:get_meta 'log_record'
    if record.reception_protocol == 'LogRecord' or is_log_record_queue(record.queue or '') then
      return false
    end
    if options.pre_filter and #match_rules(record) == 0 then
      return false
    end
    msg:set_meta('queue', queue_name)
    return true
  end)

  kumo.on('get_queue_config', function(domain, _tenant, _campaign, _routing_domain)
    if domain == queue_name then
      return kumo.make_queue_config {
        protocol = { custom_lua = { constructor = constructor_event } },
        retry_interval = '1m',
        max_retry_interval = '20m',
        refresh_strategy = 'Epoch',
      }
    end
  end)

  kumo.on(constructor_event, function()
    return make_publisher(url)
  end)

  return function()
    kumo.configure_log_hook { name = queue_name, back_pressure = options.back_pressure, per_record = per_record }
  end
end

-- Subscribing ------------------------------------------------------------------------------------------------------

-- What to do about each kind of event: the part of kumo.api.admin, the name of its function that adds an entry, and
-- the request. Requests carry the time when the entry ends, so a late or repeated event does no harm.
local EVENTS = {
  ReadyQSuspension = {
    api = 'suspend_ready_q',
    add = 'suspend',
    request = function(ev)
      return { name = ev.site_name }
    end,
  },
  SchedQSuspension = {
    api = 'suspend',
    add = 'suspend',
    request = function(ev)
      return { domain = ev.domain, tenant = ev.tenant, campaign = ev.campaign }
    end,
  },
  SchedQBounce = {
    api = 'bounce',
    add = 'bounce',
    request = function(ev)
      return { domain = ev.domain, tenant = ev.tenant, campaign = ev.campaign }
    end,
  },
}

-- Applies one event. `entries` remembers what is in place, by kind and target, so that a daemon which repeats
-- itself (it does after each connect) replaces entries instead of piling them up.
local function apply_event(entries, kind, ev)
  local how = EVENTS[kind]
  if not how then
    return
  end
  local request = how.request(ev)
  local key = kind .. '\n' .. tostring(ev.rule_hash) .. '\n' .. utils.dumps(request)
  local old = entries[key]
  if old and old.expires == ev.expires then
    return
  end
  request.reason = string.format('%s (rule_hash=%s)', ev.reason, ev.rule_hash)
  request.expires = ev.expires
  local api = kumo.api.admin[how.api]
  local id = api[how.add](request)
  if old then
    api.delete(old.id)
  end
  entries[key] = { id = id, expires = ev.expires }
end

-- Forgets entries that are over. Times are RFC 3339 in UTC, so their text sorts as they do.
local function forget_expired(entries)
  local now = os.date '!%Y-%m-%dT%H:%M:%S'
  for key, entry in pairs(entries) do
    if tostring(entry.expires) < now then
      entries[key] = nil
    end
  end
end

local function without_nulls(t)
  local out = {}
  for k, v in pairs(t) do
    if not typing.is_null(v) then
      out[k] = v
    end
  end
  return out
end

local function follow(url, entries)
  local socket = kumo.http.connect_websocket(url:gsub('^http', 'ws') .. '/subscribe_event_v1')
  while true do
    local batch = socket:recv_batch '1s'
    for _, text in ipairs(batch) do
      for kind, ev in pairs(kumo.serde.json_parse(text)) do
        apply_event(entries, kind, without_nulls(ev))
      end
    end
    if #batch > 0 then
      forget_expired(entries)
      kumo.bump_config_epoch() -- the same rule may have changed settings: have them read again
    end
  end
end

local function subscribe_forever(url)
  local entries = {}
  while true do
    local ok, err = pcall(follow, url, entries)
    if not ok then
      kumo.log_error(string.format('lost the event stream of %s, trying again in %ds: %s', url, RECONNECT_SECONDS, utils.error_text(err)))
    end
    kumo.sleep(RECONNECT_SECONDS)
  end
end

--- Shaping with the automation daemon. Options:
--   publish                  URLs of daemons that get log records
--   subscribe                URLs of daemons whose decisions take effect here
--   extra_files              shaping files, beside the default one
--   no_default_files         leave the default one out
--   load_validation_options  options of kumo.shaping.load when files are loaded
--   validation_options       the same for `kumod --validate`
--   pre_filter               publish only records that match a rule (the default)
--   back_pressure            how many records may be on their way before logging waits
--   skip_log_record_types, additional_skip_log_record_types   types of records not to publish
-- Returns a table with the functions setup_publish, to be called in the init event, and get_egress_path_config.
function mod:setup_with_automation(options)
  options = AutomationOptions(options)
  local publish = without_trailing_slash(options.publish)
  local subscribe = without_trailing_slash(options.subscribe)

  local remote = {}
  for i, url in ipairs(subscribe) do
    remote[i] = url .. '/get_config_v1/shaping.toml'
  end
  local local_files = file_list(not options.no_default_files, options.extra_files)
  local all_files = file_list(false, local_files, remote)

  local function match_rules(record)
    return load_shaping(all_files, options.load_validation_options):match_rules(record)
  end

  local at_init = {}
  for i, url in ipairs(publish) do
    at_init[i] = register_publisher(url, options, match_rules)
  end

  kumo.on('kumomta.tsa.subscribe', function(args)
    subscribe_forever(args[1])
  end)

  register_validation(local_files, options.validation_options)

  local shaper = { get_egress_path_config = path_config_handler(all_files, options.load_validation_options) }

  function shaper.setup_publish()
    for _, configure in ipairs(at_init) do
      configure()
    end
    for _, url in ipairs(subscribe) do
      kumo.spawn_task { event_name = 'kumomta.tsa.subscribe', args = { url } }
    end
  end

  return shaper
end

return mod
