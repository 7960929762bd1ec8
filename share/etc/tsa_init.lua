-- SPDX-License-Identifier: Apache-2.0
--
-- Policy of the traffic shaping automation daemon: list the shaping files that the server's own policy lists.

local kumo = require 'kumo'
local tsa = require 'tsa'

kumo.on('tsa_init', function()
  tsa.start_http_listener {
    listen = '127.0.0.1:8008',
    trusted_hosts = { '127.0.0.1', '::1' },
  }
end)

local load_shaping = kumo.memoize(kumo.shaping.load, {
  name = 'tsa_load_shaping_data',
  ttl = '5 minutes',
  capacity = 4,
})

kumo.on('tsa_load_shaping_data', function()
  return load_shaping {
    '/opt/kumomta/share/policy-extras/shaping.toml',
    '/opt/kumomta/share/community/shaping.toml',
    '/opt/kumomta/etc/policy/shaping.toml',
  }
end)
