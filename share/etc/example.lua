-- SPDX-License-Identifier: Apache-2.0
--
-- A policy with everything that a sending platform usually needs. Copy it to /opt/kumomta/etc/policy/init.lua with the
-- data files that it names, replace the names and addresses, then check it:
--
--    /opt/kumomta/sbin/kumod --policy /opt/kumomta/etc/policy/init.lua --user kumod --validate

local kumo = require 'kumo'

local dkim_sign = require 'policy-extras.dkim_sign'
local listener_domains = require 'policy-extras.listener_domains'
local log_hooks = require 'policy-extras.log_hooks'
local queue_module = require 'policy-extras.queue'
local shaping = require 'policy-extras.shaping'
local sources = require 'policy-extras.sources'

local ETC = '/opt/kumomta/etc/policy/'

-- Which addresses mail leaves from, and in which pools they are.
sources:setup { ETC .. 'sources.toml' }

-- Which keys sign for which domains.
local dkim_signer = dkim_sign:setup { ETC .. 'dkim_data.toml' }

-- How fast mail goes to whom. With an automation daemon, publish = { URL } and subscribe = { URL } have it adjusted.
local shaper = shaping:setup_with_automation {
  extra_files = { ETC .. 'shaping.toml' },
}

-- What happened to each message, as JSON to a server of yours. Hooks come before the queue helper.
log_hooks:new_json {
  name = 'webhook',
  url = 'http://10.0.0.1:4242/log',
  log_parameters = {
    headers = { 'Subject', 'X-Customer-ID' },
  },
}

-- Tenants and campaigns, how long mail is retried, and which pool it uses.
local queue_helper = queue_module:setup { ETC .. 'queues.toml' }

kumo.on('init', function()
  kumo.define_spool {
    name = 'data',
    path = '/var/spool/kumomta/data',
    kind = 'RocksDB',
  }
  kumo.define_spool {
    name = 'meta',
    path = '/var/spool/kumomta/meta',
    kind = 'RocksDB',
  }

  shaper.setup_publish()

  kumo.configure_local_logs {
    log_dir = '/var/log/kumomta',
    max_segment_duration = '1 minute',
  }

  kumo.configure_bounce_classifier {
    files = { '/opt/kumomta/share/bounce_classifier/iana.toml' },
  }

  -- Injection and administration by HTTP; the hosts listed may do everything.
  kumo.start_http_listener {
    listen = '0.0.0.0:8000',
    trusted_hosts = { '127.0.0.1', '::1' },
  }
  kumo.start_http_listener {
    use_tls = true,
    listen = '0.0.0.0:8001',
    trusted_hosts = { '127.0.0.1', '::1' },
  }

  -- The hosts listed may send to anywhere; everyone else only what listener_domains.toml permits.
  kumo.start_esmtp_listener {
    listen = '0.0.0.0:25',
    hostname = 'mail.example.com',
    relay_hosts = { '127.0.0.1', '192.168.1.0/24' },
  }
  -- '[::]:25' would take IPv4 as well, and so needs the port alone; beside the listener above name addresses of this host.
  kumo.start_esmtp_listener {
    listen = '[::1]:25',
    relay_hosts = { '::1' },
  }

  -- Limits that several servers share need Redis:
  -- kumo.configure_redis_throttles { node = 'redis://127.0.0.1/' }
end)

kumo.on('get_listener_domain', listener_domains:setup { ETC .. 'listener_domains.toml' })

kumo.on('get_egress_path_config', shaper.get_egress_path_config)

kumo.on('smtp_server_message_received', function(msg)
  -- A bare CR or LF could end the message early at the next server: SMTP smuggling.
  local failed = msg:check_fix_conformance('NON_CANONICAL_LINE_ENDINGS', '')
  if failed then
    kumo.reject(552, string.format('5.6.0 %s', failed))
  end
  queue_helper:apply(msg)
  dkim_signer(msg) -- last: a later change would break the signature
end)

kumo.on('http_message_generated', function(msg)
  queue_helper:apply(msg)
  dkim_signer(msg)
end)
