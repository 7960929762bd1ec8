-- SPDX-License-Identifier: Apache-2.0
--
-- The smallest useful policy: mail that arrives from this host goes out to the world. It is meant as a start;
-- example.lua beside it shows tenants, pools, DKIM, shaping and webhooks.

local kumo = require 'kumo'

kumo.on('init', function()
  for _, name in ipairs { 'data', 'meta' } do
    kumo.define_spool {
      name = name,
      path = '/var/spool/kumomta/' .. name,
      kind = 'RocksDB',
    }
  end

  kumo.configure_local_logs {
    log_dir = '/var/log/kumomta',
    -- finish a log file after a minute, so that records can be read soon; leave it out on a busy server
    max_segment_duration = '1 minute',
  }

  kumo.configure_bounce_classifier {
    files = { '/opt/kumomta/share/bounce_classifier/iana.toml' },
  }

  kumo.start_http_listener {
    listen = '127.0.0.1:8000',
  }

  kumo.start_esmtp_listener {
    listen = '0.0.0.0:25',
    -- who may send mail to anywhere through this server
    relay_hosts = { '127.0.0.1', '::1' },
  }
end)
