"""What the scenarios of the way out share: a policy with sources and pools, two exchangers, and what the sink heard."""
import re
from kumotest import BASE

# two exchangers: 127.0.0.1 first, then 127.0.0.2
TWO_HOSTS = BASE.replace("configure_test_resolver { zone 'a.example', zone 'b.example' }",
                         "configure_test_resolver { '$ORIGIN a.example.\\n@ 300 MX 10 mx1.a.example.\\n@ 300 MX 20 mx2.a.example.\\nmx1 300 A 127.0.0.1\\nmx2 300 A 127.0.0.2\\n', zone 'b.example' }")
# two sources in one pool; SOURCE(name) gives more of a source's options
SOURCES = r'''
kumo.on('get_egress_pool', function(n) return kumo.make_egress_pool { name = n, ttl = POOL_TTL, entries = POOL_ENTRIES and POOL_ENTRIES() or { { name = 's1' }, { name = 's2' } } } end)
kumo.on('get_egress_source', function(n)
  local s = { name = n, ehlo_domain = n .. '.example' }
  for k, v in pairs(SOURCE and SOURCE(n) or {}) do s[k] = v end
  return kumo.make_egress_source(s)
end)
'''
POOL = "QUEUE = { egress_pool = 'p', retry_interval = '2s' }\n"


def send(k, n=1, rcpt="r%d@a.example", **kw):
    c = k.client()
    for i in range(n):
        r = c.mail(rcpt % i if "%" in rcpt else rcpt, **kw)
        assert r.startswith("250"), r
    c.cmd("QUIT")


def run(kumod, sink_port, options, policy=BASE):
    return kumod(options + "\n" + policy, sink_port=sink_port)


def verbs(s):
    return [re.split("[ :]", c)[0] for c in s.commands]


def transient(k, n=1):
    return [r["response"]["content"] for r in k.wait_records("TransientFailure", n)]
