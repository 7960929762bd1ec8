"""The helper modules in share/policy-extras with a real daemon, and the example policy as it is shipped."""
import os, re, shutil, subprocess, tempfile
from kumotest import AS_ME, BIN, PRELUDE, ROOT, wait_for

SHARE = os.path.join(ROOT, "share")


def example(d):
    """share/etc/example.lua and its data files in folder D, with D in the place of /opt/kumomta and free ports."""
    etc = os.path.join(d, "etc")
    shutil.copytree(os.path.join(SHARE, "etc"), etc)
    keys = os.path.join(d, "example.com.key")
    subprocess.run(["openssl", "genrsa", "-out", keys, "2048"], check=True, capture_output=True)
    with open(etc + "/dkim_data.toml", "a") as f:
        f.write('filename = "%s"\n' % keys)
    text = open(etc + "/example.lua").read()
    text = text.replace("/opt/kumomta/etc/policy/", etc + "/").replace("/opt/kumomta/share/", SHARE + "/")
    text = text.replace("/var/spool/kumomta", d + "/spool").replace("/var/log/kumomta", d + "/log")
    text = re.sub(r"'(0\.0\.0\.0|\[::\]):\d+'", "'127.0.0.1:0'", text)
    with open(d + "/init.lua", "w") as f:
        f.write("package.path = '%s/?.lua;' .. package.path\nrequire('kumo').on('pre_init', function() require('kumo').set_config_monitor_globs { '%s/*.toml' } end)\n%s" % (SHARE, etc, text))
    return etc


def validate(d):
    r = subprocess.run([os.path.join(BIN, "kumod"), "--policy", d + "/init.lua", *AS_ME, "--validate"], capture_output=True, text=True, timeout=60)
    return r.returncode, r.stdout + r.stderr


def test_the_example_is_valid():
    with tempfile.TemporaryDirectory() as d:
        etc = example(d)
        assert validate(d) == (0, "")
        with open(etc + "/queues.toml", "a") as f:
            f.write('[tenant."t2"]\negress_pool = "pool-9"\n')
        status, text = validate(d)
        assert status == 1
        assert "tenant 't2' uses pool 'pool-9' which is not present in your sources helper data" in text


def test_a_key_that_is_missing_is_found():
    with tempfile.TemporaryDirectory() as d:
        example(d)
        os.unlink(d + "/example.com.key")
        status, text = validate(d)
        assert status == 1
        assert "signing for domain 'example.com'" in text and "example.com.key" in text


HOOKS = PRELUDE + r'''
local function note(name, ...)
  local f = io.open(DIR .. '/' .. name, 'a')
  f:write(table.concat({ ... }, ' '), '\n')
  f:close()
end
local function write(path, text)
  local f = io.open(path, 'w')
  f:write(text)
  f:close()
  return path
end
local log_hooks = require 'policy-extras.log_hooks'
log_hooks:new {
  name = 'one',
  constructor = function()
    local c = {}
    function c:send(msg)
      local r = msg:get_meta 'log_record'
      note('one', r.type, r.queue)
      return 'ok'
    end
    return c
  end,
}
log_hooks:new {
  name = 'many',
  batch_size = 10,
  constructor = function()
    local c = {}
    function c:send_batch(msgs)
      for _, msg in ipairs(msgs) do
        note('many', msg:get_meta('log_record').queue)
      end
      return 'ok'
    end
    return c
  end,
}
log_hooks:new_disposition_hook {
  name = 'now',
  hook = function(msg, record)
    note('now', record.type, record.queue)
  end,
}
local queue_helper = require('policy-extras.queue'):setup {
  write(DIR .. '/queues.toml', 'tenant_header = "X-Tenant"\ndefault_tenant = "d"\n[queue.default]\nretry_interval = "5m"\n'),
}
kumo.on('get_egress_path_config', require('policy-extras.shaping'):setup({
  write(DIR .. '/shaping.toml', '["default"]\nprohibited_hosts = []\nsmtp_port = ' .. SINK .. '\nenable_tls = "Disabled"\n'),
}, { no_default_files = true }))
kumo.on('inject', function()
  for i = 1, 3 do
    local msg = kumo.make_message('s@from.example', 'r@a.example', (i == 3 and 'X-Tenant: t\r\n' or '') .. 'Subject: x\r\n\r\nbody\r\n')
    queue_helper:apply(msg)
    kumo.inject_message(msg)
  end
end)
kumo.on('init', function()
  kumo.dns.configure_test_resolver { zone 'a.example' }
  for _, n in ipairs { 'data', 'meta' } do
    kumo.define_spool { name = n, path = DIR .. '/spool/' .. n, kind = 'LocalDisk' }
  end
  kumo.configure_local_logs { log_dir = DIR .. '/logs', max_segment_duration = '1s' }
  kumo.spawn_task { event_name = 'inject', args = {} }
end)
'''


def test_every_record_reaches_every_hook_once(kumod):
    k = kumod(HOOKS)  # nobody listens at the sink's port: each message fails for now

    def lines(name):
        path = os.path.join(k.dir, name)
        return sorted(open(path).read().splitlines()) if os.path.exists(path) else []
    queues = ["d@a.example", "d@a.example", "t@a.example"]
    assert wait_for(lambda: len(lines("one")) >= 3 and len(lines("many")) >= 3 and len(lines("now")) >= 3)
    assert k.stop() == 0
    assert lines("many") == queues
    assert lines("one") == lines("now") == ["TransientFailure " + q for q in queues]
    assert not [r for r in k.records() if r["type"] in ("Bounce", "Expiration")]
