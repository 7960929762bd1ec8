-- SPDX-License-Identifier: Apache-2.0
--
-- Tests of the helper modules in share/policy-extras with plain Lua: `lua5.4 tests/lua/extras_test.lua` from the top of
-- the tree. The kumo module is a stub that holds what was registered; data files are Lua tables.

package.path = 'share/?.lua;' .. package.path

local files -- path -> what its loader returns
local handlers -- event -> list of functions
local calls -- what the stub was asked to do
local failed

local function accept(name, options)
  local known = {}
  for _, o in ipairs(options) do
    known[o] = true
  end
  return function(params)
    for k, v in pairs(params) do
      if not known[k] then
        error(string.format('unknown field `%s`', k))
      end
      if k == 'source_address' and type(v) ~= 'string' then
        error(string.format('invalid type: integer `%s`, expected IP address', v))
      end
    end
    local copy = { kind = name }
    for k, v in pairs(params) do
      copy[k] = v
    end
    return copy
  end
end

local function load_file(path)
  if not files[path] then
    error('reading file ' .. path .. ': No such file or directory')
  end
  return files[path]
end

local kumo = {
  serde = { toml_load = load_file, json_load = load_file },
  make_egress_source = accept('source', { 'name', 'source_address', 'ehlo_domain' }),
  make_egress_pool = accept('pool', { 'name', 'entries' }),
  make_listener_domain = accept('domain', { 'relay_to', 'relay_from', 'log_oob', 'log_arf' }),
  make_queue_config = accept('queue', { 'egress_pool', 'max_age', 'retry_interval', 'max_retry_interval', 'protocol', 'refresh_strategy' }),
  make_egress_path = accept('path', { 'connection_limit', 'refresh_strategy' }),
  memoize = function(f)
    return f
  end,
  on = function(event, f)
    handlers[event] = handlers[event] or {}
    table.insert(handlers[event], f)
  end,
  validation_failed = function()
    failed = true
  end,
  eval_config_monitor_globs = function()
    return { 'q.toml' }
  end,
  reject = function(code, text)
    error(code .. ' ' .. text, 0)
  end,
  make_throttle = function(name, spec)
    if not tostring(spec):find '/' then
      error "expected 'limit/period'"
    end
    return {
      delay_message_if_throttled = function()
        table.insert(calls, name .. ' ' .. spec)
        return false
      end,
    }
  end,
  make_message = function(from)
    return {
      from_header = function()
        return { domain = from:match '@(.*)' }
      end,
      dkim_sign = function(_, signer)
        table.insert(calls, signer)
      end,
    }
  end,
  dkim = {
    rsa_sha256_signer = function(params)
      return params
    end,
    ed25519_signer = function(params)
      params.ed25519 = true
      return params
    end,
  },
  configure_log_hook = function(params)
    table.insert(calls, params)
  end,
  spawn_task = function(params)
    table.insert(calls, params)
  end,
  shaping = {},
  dns = {},
}
package.loaded.kumo = kumo

local function fresh(name)
  files, handlers, calls, failed = {}, {}, {}, false
  for loaded in pairs(package.loaded) do
    if loaded:find '^policy%-extras' then
      package.loaded[loaded] = nil
    end
  end
  return require('policy-extras.' .. name)
end

local printed
local function capture(f)
  local real = print
  printed = {}
  _G.print = function(text)
    table.insert(printed, text)
  end
  local ok, err = pcall(f)
  _G.print = real
  return ok, err, table.concat(printed, '\n')
end

local passed, broken = 0, 0
local function test(name, f)
  local ok, err = xpcall(f, debug.traceback)
  if ok then
    passed = passed + 1
  else
    broken = broken + 1
    io.stderr:write('FAILED ', name, ': ', tostring(err), '\n')
  end
end

local function eq(a, b)
  require('policy-extras.policy_utils').assert_eq(a, b)
end

local function contains(text, part)
  if not tostring(text):find(part, 1, true) then
    error(string.format('%q does not contain %q', tostring(text), part), 2)
  end
end

local function message(fields)
  local meta, headers = fields.meta or {}, fields.headers or {}
  return {
    meta = meta,
    headers = headers,
    get_meta = function(_, k)
      return meta[k]
    end,
    set_meta = function(_, k, v)
      meta[k] = v
    end,
    get_first_named_header_value = function(_, k)
      return headers[k]
    end,
    remove_all_named_headers = function(_, k)
      headers[k] = nil
    end,
    recipient_list = function()
      return { { domain = fields.domain } }
    end,
    queue_name = function()
      return fields.queue
    end,
  }
end

test('typing', function()
  local typing = fresh 'typing'
  local R = typing.record('R', { a = typing.option(typing.string), b = typing.default(typing.boolean, true), c = typing.list(typing.number) })
  eq(R { c = { 1, 2 } }, { b = true, c = { 1, 2 } })
  eq(R { b = false, c = {} }, { b = false, c = {} })
  local _, err = pcall(R, { c = {}, bb = 1, a = 'x' })
  contains(err, "R: unknown field 'bb'")
  contains(err, "did you mean 'b'?")
  _, err = pcall(R, { c = { 'x' } })
  contains(err, "R: invalid value for field 'c'")
  contains(err, "list<number>: invalid value for element 1\nExpected 'number', got 'string' 'x'")
  _, err = pcall(R, {})
  contains(err, "R: missing value for field 'c' of type 'list<number>'")
  eq(typing.nearest('max_aeg', { 'max_age', 'protocol' }), 'max_age')
  eq(typing.nearest('zzz', { 'max_age', 'protocol' }), nil)
  _, err = pcall(typing.enum('E', 'x', 'y'), 'z')
  contains(err, "one of 'x', 'y'")
end)

test('policy_utils', function()
  local utils = fresh 'policy_utils'
  eq(utils.merge_into({ a = 1 }, { b = 2 }), { a = 1, b = 2 })
  eq(utils.recursive_merge_into({ a = { x = 1 } }, { a = { y = 2 } }), { a = { x = 1, y = 2 } })
  eq(utils.ends_with('abc', 'bc'), true)
  eq(utils.ends_with('abc', ''), true)
  eq(utils.ends_with('c', 'bc'), false)
  eq(pcall(utils.assert_eq, { 1, { 2 } }, { 1, { 3 } }), false)
  eq(utils.dumps { 1, x = { 'a' } }, '{1, x = {"a"}}')
end)

test('sources', function()
  local sources = fresh 'sources'
  files['a.toml'] = { source = { ['ip-1'] = { source_address = '10.0.0.1' } }, pool = { p = { ['ip-1'] = {} }, empty = {} } }
  files['b.json'] = { source = { ['ip-1'] = { ehlo_domain = 'x' }, ['ip-2'] = {} }, pool = { p = { ['ip-2'] = { weight = 3 } } } }
  sources:setup { 'a.toml', 'b.json' }
  eq(handlers.get_egress_source[1] 'ip-1', { kind = 'source', name = 'ip-1', source_address = '10.0.0.1', ehlo_domain = 'x' })
  eq(handlers.get_egress_pool[1] 'p', { kind = 'pool', name = 'p', entries = { { name = 'ip-1' }, { name = 'ip-2', weight = 3 } } })
  eq(handlers.get_egress_pool[1] 'empty', { kind = 'pool', name = 'empty', entries = {} })
  eq(pcall(handlers.get_egress_source[1], 'nope'), false)
  capture(handlers.validate_config[1])
  eq(failed, false)
  files['b.json'].pool.p['ip-9'] = {}
  local _, _, out = capture(handlers.validate_config[1])
  eq(failed, true)
  contains(out, "pool 'p' references source 'ip-9' which is not defined")
end)

test('sources: what is refused', function()
  local function refused(data, ...)
    local sources = fresh 'sources'
    files['a.toml'] = data
    sources:setup { 'a.toml' }
    local ok, err = pcall(handlers.validate_config[1])
    eq(ok, false)
    for _, part in ipairs { ... } do
      contains(err, part)
    end
    contains(err, 'in file a.toml')
  end
  refused({ source = { a = { sorce_address = '::1' } } }, "SourceConfig: unknown field 'sorce_address'", "did you mean 'source_address'?")
  refused({ source = { a = { source_address = 5 } } }, "SourceConfig: invalid value for field 'source_address'\ninvalid type: integer `5`")
  refused({ pool = { p = { a = { weight = 'x' } } } }, "PoolSourceEntry: invalid value for field 'weight'\nExpected 'number', got 'string' 'x'")
  refused({ sorce = {} }, "SourcesHelperConfig: unknown field 'sorce'")
end)

test('listener_domains', function()
  local module = fresh 'listener_domains'
  files['l.toml'] = {
    ['*'] = { log_arf = true },
    ['*.Example.com'] = { relay_to = true },
    ['a.b.example.com'] = { relay_to = false },
    ['auth.example'] = { relay_from_authz = { 'fred' } },
    listener = { ['127.0.0.1:25'] = { ['*.example.com'] = { log_oob = false } } },
  }
  local get = module:setup { 'l.toml' }
  local conn = message { meta = { authz_id = 'fred' } }
  eq(get('other', 'x', conn), { kind = 'domain', log_arf = true })
  eq(get('example.com', 'x', conn), { kind = 'domain', log_arf = true })
  eq(get('x.y.EXAMPLE.com', 'x', conn), { kind = 'domain', relay_to = true })
  eq(get('a.b.example.com', 'x', conn), { kind = 'domain', relay_to = false })
  eq(get('x.example.com', '127.0.0.1:25', conn), { kind = 'domain', log_oob = false })
  eq(get('auth.example', 'x', conn), { kind = 'domain', relay_from = { '0.0.0.0/0', '::/0' } })
  eq(get('auth.example', 'x', message {}), { kind = 'domain' })
  files['l.toml'] = { ['a.example'] = { relay_too = true } }
  local _, _, out = capture(handlers.validate_config[1])
  eq(failed, true)
  contains(out, "Issues found in the combined set of listener_domain files:\n - l.toml\nmap<string,ListenerConfig>: invalid value for key 'a.example'")
  contains(out, "ListenerConfig: unknown field 'relay_too'")
end)

local function queue_file()
  return {
    tenant_header = 'X-Tenant',
    remove_tenant_header = true,
    campaign_header = 'X-Campaign',
    default_tenant = 'dt',
    tenant = {
      dt = { egress_pool = 'p1' },
      t1 = { egress_pool = 'p2', max_age = '10h', overall_max_message_rate = '5/s' },
      secret = { require_authz = { 'fred' } },
    },
    queue = {
      default = { max_age = '24h', retry_interval = '20m' },
      ['Gmail.example'] = { retry_interval = '17m', max_age = '22h', t1 = { retry_interval = '3m', welcome = { retry_interval = '1m' } } },
      ['relay.example'] = { routing_domain = '[10.0.0.1]', protocol = { maildir_path = '/x' } },
    },
  }
end

test('queue: settings', function()
  local module = fresh 'queue'
  files['q.toml'] = queue_file()
  local helper = module:setup { 'q.toml' }
  local function get(...)
    local q = handlers.get_queue_config[1](...)
    return q and string.format('%s %s %s', q.egress_pool, q.max_age, q.retry_interval)
  end
  eq(get 'x.example', 'nil 24h 20m')
  eq(get('x.example', 't1'), 'p2 10h 20m')
  eq(get('gmail.example', 'dt'), 'p1 22h 17m')
  eq(get('gmail.example', 't1'), 'p2 10h 3m')
  eq(get('gmail.example', 't1', 'welcome'), 'p2 10h 1m')
  eq(get('gmail.example', 't1', 'other'), 'p2 10h 3m')
  eq(get('gmail.example', 'zz'), 'nil 22h 17m')
  eq(get 'hook.log_hook', nil)
  eq(helper:resolve_config 'relay.example', { max_age = '24h', retry_interval = '20m', protocol = { maildir_path = '/x' } })
  handlers.throttle_insert_ready_queue[1](message { queue = 'c:t1@x.example!y' })
  handlers.throttle_insert_ready_queue[1](message { queue = 'x.example' })
  eq(calls, { 'queue-helper-tenant-t1 5/s' })
end)

test('queue: apply', function()
  local module = fresh 'queue'
  files['q.toml'] = queue_file()
  local helper = module:setup_with_options { file_names = { 'q.toml' }, skip_queue_config_hook = true }
  eq(handlers.get_queue_config, nil)
  local msg = message { domain = 'relay.example', headers = { ['X-Tenant'] = 't1', ['X-Campaign'] = 'c' } }
  helper:apply(msg)
  eq(msg.meta, { tenant = 't1', campaign = 'c', routing_domain = '[10.0.0.1]' })
  eq(msg.headers, { ['X-Campaign'] = 'c' })
  msg = message { domain = 'x.example' }
  helper:apply(msg)
  eq(msg.meta, { tenant = 'dt' })
  eq(pcall(helper.apply, helper, message { domain = 'x', headers = { ['X-Tenant'] = 'secret' } }), false)
  eq(pcall(helper.apply, helper, message { domain = 'x', headers = { ['X-Tenant'] = 'secret' }, meta = { authz_id = 'fred' } }), true)
end)

test('queue: what is refused', function()
  local sources = fresh 'sources'
  files['s.toml'] = { pool = { p1 = {} } }
  sources:setup { 's.toml' }
  files['q.toml'] = { tenant = { t = { egress_pool = 'nopool' } } }
  require('policy-extras.queue'):setup { 'q.toml' }
  local _, _, out = capture(handlers.validate_config[2])
  eq(failed, true)
  eq(out, "Issues found in the combined set of queue files:\n - q.toml\ntenant 't' uses pool 'nopool' which is not present in your sources helper data")
  files['q.toml'] = { queue = { default = { max_aeg = '1h' } } }
  local _, err = pcall(handlers.validate_config[2])
  contains(err, "invalid value for key 'default'")
  contains(err, "QueueConfig: unknown field 'max_aeg'\n\tdid you mean 'max_age'?")
  files['q.toml'] = { tenant = { t = { overall_max_message_rate = '5' } } }
  _, err = pcall(handlers.validate_config[2])
  contains(err, "invalid value for field 'overall_max_message_rate'")
end)

test('dkim_sign', function()
  local module = fresh 'dkim_sign'
  files['d.toml'] = {
    base = { selector = 's0', over_sign = true, additional_signatures = { 'esp', 'fallback' } },
    domain = { ['a.example'] = { selector = 's1', headers = { 'From' }, algo = 'ed25519', filename = '/k' } },
    signature = { esp = { policy = 'Always', domain = 'esp.example' }, fallback = { policy = 'OnlyIfMissingDomainBlock', domain = 'f.example' } },
  }
  local sign = module:setup { 'd.toml' }
  sign(kumo.make_message 'x@A.example')
  eq(#calls, 2)
  eq(calls[1], { domain = 'a.example', selector = 's1', headers = { 'From' }, over_sign = true, key = '/k', ed25519 = true })
  eq(calls[2].key, '/opt/kumomta/etc/dkim/esp.example/s0.key')
  calls = {}
  sign(kumo.make_message 'x@b.example')
  eq({ calls[1].domain, calls[2].domain }, { 'esp.example', 'f.example' })
  files['d.toml'] = { base = { vault_mount = 'secret', vault_path_prefix = 'dkim' }, domain = { ['a.example'] = {} } }
  local _, _, out = capture(handlers.validate_config[1])
  eq(failed, true)
  contains(out, "signing for domain 'a.example': no selector for the DKIM signature of 'a.example'")
end)

test('log_hooks', function()
  local hooks = fresh 'log_hooks'
  hooks:new_json { name = 'webhook', url = 'http://x/', log_parameters = { headers = { 'Subject' } } }
  handlers.pre_init[1]()
  eq(calls[1], { name = 'webhook', headers = { 'Subject' } })
  local enqueue = handlers.should_enqueue_log_record[1]
  local msg = message { meta = { log_record = { queue = 'a.example' } } }
  eq(select('#', enqueue(msg, 'other')), 0)
  eq(enqueue(msg, 'webhook'), true)
  eq(msg.meta.queue, 'webhook.log_hook')
  eq(enqueue(message { meta = { log_record = { queue = 'x', reception_protocol = 'LogRecord' } } }, 'webhook'), false)
  eq(select('#', handlers.get_queue_config[1] 'a.example'), 0)
  eq(handlers.get_queue_config[1]('webhook.log_hook').protocol, { custom_lua = { constructor = 'make.webhook.log_hook' } })
  eq(pcall(hooks.new_json, hooks, { name = 'webhook', url = 'x' }), false)
  eq(pcall(hooks.new, hooks, { name = 'y' }), false)
end)

test('shaping', function()
  kumo.shaping.load = function(list, options)
    return {
      list = list,
      get_egress_path_config = function()
        return { connection_limit = #list }
      end,
      match_rules = function(_, record)
        return record.match and { {} } or {}
      end,
      get_errors = function()
        return {}
      end,
      get_warnings = function()
        return { 'careful' }
      end,
      get_referenced_sources = function()
        return { s1 = { 'site:x' } }
      end,
    }
  end
  local shaping = fresh 'shaping'
  local shaper = shaping:setup_with_automation {
    publish = { 'http://127.0.0.1:8008/' },
    subscribe = { 'http://127.0.0.1:8008' },
    extra_files = { 'x.toml', 'share/policy-extras/shaping.toml' },
    additional_skip_log_record_types = { 'Delivery' },
  }
  eq(shaper.get_egress_path_config('a', 'b', 'c'), { kind = 'path', connection_limit = 3, refresh_strategy = 'Epoch' })
  shaper.setup_publish()
  eq(calls[1].name, 'http://127.0.0.1:8008.tsa.kumomta')
  eq(calls[1].per_record.Delivery, { enable = false })
  eq(calls[1].per_record.TransientFailure, nil)
  eq(calls[2], { event_name = 'kumomta.tsa.subscribe', args = { 'http://127.0.0.1:8008' } })
  local enqueue = handlers.should_enqueue_log_record[1]
  eq(enqueue(message { meta = { log_record = { queue = 'a' } } }, calls[1].name), false)
  eq(enqueue(message { meta = { log_record = { queue = 'a', match = true } } }, calls[1].name), true)
  local _, _, out = capture(handlers.validate_config[1])
  eq(failed, true)
  contains(out, 'shaping: careful')
end)

test('rollup', function()
  local rollup = fresh 'rollup'
  kumo.dns.lookup_mx = function()
    return { is_mx = true, hosts = { 'b.olc.example.', 'a.olc.example.' }, by_pref = { [20] = { 'b.olc.example.' }, [5] = { 'a.olc.example.' } } }
  end
  kumo.dns.lookup_addr = function(name)
    eq(name, 'a.olc.example.')
    return { '10.0.0.2', '10.0.0.1' }
  end
  local msg = message { domain = 'x' }
  rollup.reroute_based_on_mx_host_suffix(msg, { ['.olc.example'] = 'out', ['.example.'] = 'other' })
  eq(msg.meta.routing_domain, 'out')
  msg = message { domain = 'x' }
  rollup.reroute_based_on_mx_host_suffix(msg, { ['a.olc.example'] = 'out' })
  eq(msg.meta.routing_domain, nil)
  rollup.reroute_using_ip_rollup(msg, { ['.olc.example.'] = 'o.ip_rollup' })
  eq(msg.meta.routing_domain, 'o.ip_rollup')
  local params = {}
  eq(rollup.apply_ip_rollup_to_queue_config('x', 'o.ip_rollup', params), true)
  eq(params, { protocol = { smtp = { mx_list = { '[10.0.0.1]', '[10.0.0.2]' } } } })
  eq(rollup.apply_ip_rollup_to_queue_config('x', nil, {}), false)
end)

test('mail_auth: iprev', function()
  local mail_auth = fresh 'mail_auth'
  kumo.dns.lookup_ptr = function()
    return { 'a.example.' }
  end
  kumo.dns.lookup_addr = function()
    return { '10.0.0.1' }
  end
  eq(mail_auth.iprev('10.0.0.1').result, 'pass')
  eq(mail_auth.iprev('10.0.0.2').result, 'fail')
  eq(mail_auth.iprev_msg(message { meta = { received_from = '10.0.0.1:44' } }).props, { ['policy.iprev'] = '10.0.0.1' })
  eq(mail_auth.iprev_msg(message { meta = { received_from = '[::1]:44' } }).props, { ['policy.iprev'] = '::1' })
  kumo.dns.lookup_ptr = function()
    error 'NXDOMAIN'
  end
  eq(mail_auth.iprev('10.0.0.2').result, 'permerror')
end)

print(string.format('%d passed, %d failed', passed, broken))
os.exit(broken == 0)
