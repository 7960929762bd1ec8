"""Policy code that would take the thread or the memory of the daemon: it fails alone."""
import re
import time
import pytest
from kumotest import BASE

BODIES = {
    "a message handler that never returns": "xpcall(function() while true do end end, function() while true do end end)",
    "a finalizer that never returns": "setmetatable({}, { __gc = function() while true do end end }) collectgarbage()",
    "a finalizer that catches what would end it": "setmetatable({}, { __gc = function() while true do pcall(function() while true do end end) end end }) collectgarbage()",
    "a finalizer that is called when the state is closed": "KEPT = setmetatable({}, { __gc = function() while true do end end }) error 'on purpose'",
    "a pattern that takes years": "local _ = ('a'):rep(100):find(('a*'):rep(40) .. 'b')",
    "a pattern that takes hours": "local _ = (' '):rep(1e6):match('^(.-)%s*x$')",
    "a replacement that takes hours": "local _ = (' '):rep(1e6):gsub('%s+x', '')",
    "a pattern in a finalizer": "setmetatable({}, { __gc = function() return ('a'):rep(100):find(('a*'):rep(40) .. 'b') end }) collectgarbage()",
    "nothing, without end": "local _ = (''):rep(math.maxinteger)",
    "texts without end": "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
    "one text": "LARGE = ('x'):rep(1e9) .. ''",
    "much for nothing": "kumo.string.replace(('a'):rep(1e6), '', ('b'):rep(1e6))",
    "a file without end": "io.open('/dev/zero'):read('a')",
}
POLICY = BASE + r'''
kumo.on('pre_init', function() kumo.set_memory_hard_limit(1 << 30) end)
kumo.on('smtp_server_message_received', function(msg, conn)
  if msg:sender().user ~= 'bad' then return end
  %s
end)
'''


def hwm_mb(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024


@pytest.mark.parametrize("name", BODIES)
def test_a_handler_fails_alone(kumod, sink, name):
    s = sink()
    k = kumod("LISTENER = { data_processing_timeout = '2s' }\n" + POLICY % BODIES[name], sink_port=s.port)
    before = hwm_mb(k.p.pid)
    for _ in range(4):                      # on each shard
        c = k.client()
        assert c.mail(sender="bad@from.example")[:3] in ("250", "421", "451")
    for _ in range(4):
        assert k.client().mail().startswith("250 OK ids=")
    assert s.wait(4)
    assert hwm_mb(k.p.pid) - before < 512
    assert k.stop() == 0


def test_others_go_on_meanwhile(kumod, sink):
    """The senders' texts make an innocent pattern quadratic, in several sessions on each shard: the shards serve others all the same."""
    s = sink()
    trim = "local _ = msg:get_data():match('^%s*(.-)%s*x$')"
    k = kumod("LISTENER = { data_processing_timeout = '8s' }\n" + POLICY % trim, sink_port=s.port)
    bad = [k.client() for _ in range(8)]
    for c in bad:
        assert [c.cmd(line)[0] for line in ("MAIL FROM:<bad@from.example>", "RCPT TO:<r@a.example>", "DATA")] == ["2", "2", "3"]
        c.send(b"Subject: x\r\n\r\n" + (b" " * 900 + b"\r\n") * 500 + b".\r\n")
    began = time.monotonic()
    for _ in range(4):
        assert k.client().mail().startswith("250 OK ids=")
    assert time.monotonic() - began < 6
    assert {c.reply()[:3] for c in bad} <= {"421", "451"}
    assert k.stop() == 0


KEPT = r'''
kumo.on('smtp_server_message_received', function(msg, conn) KEPT = conn end)
kumo.on('change', function(msg)
  for i = 1, 2000 do
    KEPT:set_meta('ehlo_domain', ('changed'):rep(i % 90 + 1))
    KEPT:set_meta('k' .. i % 37, ('z'):rep(i % 700))
  end
  return true
end)
'''


def test_a_connection_that_was_kept_is_changed_while_it_is_logged(kumod, sink):
    """What a record says of the client is of the moment when it began, whoever changes the connection's metadata meanwhile."""
    s = sink()
    first = "kumo.on('init', function()\n  kumo.configure_local_logs { log_dir = DIR .. '/first', filter_event = 'change' }\n"
    text = BASE.replace("kumo.on('init', function()\n", first, 1) + KEPT
    k = kumod(text, sink_port=s.port, env={"MALLOC_CONF": "junk:free"})    # what is freed is seen to be
    for _ in range(20):
        c = k.client()
        c.cmd("EHLO client-with-a-name.example")
        assert c.mail().startswith("250")
        c.close()
    assert s.wait(20)
    assert k.stop() == 0
    assert [r["peer_address"]["name"] for r in k.records() if r["type"] == "Reception"] == ["client-with-a-name.example"] * 20
