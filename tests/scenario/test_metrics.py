"""Metrics: each family tells what happened, under the buckets that are documented."""
import json, os, socketserver, subprocess, threading
import pytest
from kumotest import BASE, BIN, wait_for

USUAL = [.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10]
TARDY = [.25, .5, 1, 2.5, 3, 5, 10, 15]
BUCKETS = {
    "timeq_pop_interval": [3, 4, 5, 8, 10, 12, 15, 20, 25, 30], "timeq_pop_latency": USUAL, "timeq_pop_tardiness": TARDY,
    "timeq_reinsert_tardiness": TARDY + [30, 45, 60, 90, 180, 360, 720],
    "dkim_signer_creation": USUAL, "dkim_signer_key_fetch": USUAL, "dkim_signer_message_parse": USUAL, "dkim_signer_sign": USUAL,
}


class Redis(socketserver.ThreadingTCPServer):
    """Answers +PONG to PING, 1 to EVAL, an error to everything else."""
    daemon_threads = allow_reuse_address = True

    class RequestHandlerClass(socketserver.StreamRequestHandler):
        def handle(self):
            while line := self.rfile.readline():
                args = []
                for _ in range(int(line[1:])):
                    args.append(self.rfile.read(int(self.rfile.readline()[1:])))
                    self.rfile.readline()
                self.wfile.write({b"PING": b"+PONG\r\n", b"EVAL": b":1\r\n"}.get(args[0], b"-ERR no\r\n"))

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.RequestHandlerClass)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def redis():
    r = Redis()
    yield r.server_address[1]
    r.shutdown()
    r.server_close()


def metrics(k):
    return json.loads(k.http("GET", "/metrics.json")[1])


def value(k, name, label=None):
    m = metrics(k).get(name)
    if m is None or label is None:
        return m and m["value"]
    return list(m["value"].values())[0].get(label)


def test_lua_contexts_and_events(kumod):
    k = kumod(BASE + r'''
kumo.on('smtp_server_ehlo', function() end)
kumo.on('smtp_server_mail_from', function() kumo.sleep(0.03) end)
kumo.on('smtp_server_message_received', function(msg) msg:set_meta('queue', 'null') end)
''')
    c = k.client()
    c.cmd("EHLO source.example")
    for _ in range(3):
        assert c.mail().startswith("250")
    m = metrics(k)
    started, took = m["lua_event_started"]["value"]["event"], m["lua_event_latency"]["value"]["event"]
    assert {e: started[e] for e in ("init", "smtp_server_ehlo", "smtp_server_mail_from", "smtp_server_message_received")} == {
        "init": 1, "smtp_server_ehlo": 1, "smtp_server_mail_from": 3, "smtp_server_message_received": 3}
    assert {e: t["count"] for e, t in took.items()} == {e: float(n) for e, n in started.items()}     # all ended
    assert 0.09 <= took["smtp_server_mail_from"]["sum"] < 2
    assert [b for b, n in took["init"]["bucket"]] == USUAL
    assert m["lua_load_count"]["value"] == started["context-creation"] >= m["lua_count"]["value"]
    assert m["lua_count"]["value"] >= m["lua_spare_count"]["value"] >= 1
    c.close()


def test_a_running_event_is_started_and_not_ended(kumod):
    k = kumod(BASE + "kumo.on('smtp_server_ehlo', function() kumo.sleep(3) end)\n")
    c = k.client()
    c.send("EHLO source.example\r\n")
    assert wait_for(lambda: value(k, "lua_event_started", "smtp_server_ehlo") == 1, 2)
    assert value(k, "lua_event_latency", "smtp_server_ehlo")["count"] == 0
    assert value(k, "lua_count") > value(k, "lua_spare_count")
    c.close()


MEMOIZE = BASE + r'''
local twice = kumo.memoize(function(x) if x == 'fail' then error 'on purpose' end kumo.sleep(0.2) return x .. x end, { name = 'twice', ttl = '1 hour', capacity = 2 })
kumo.on('smtp_server_mail_from', function(from) pcall(twice, from.user) end)
'''


def test_memoize(kumod):
    """A shown name is a second name of what lruttl_* says."""
    k = kumod(MEMOIZE)
    c = k.client()
    c.cmd("EHLO source.example")
    for user in ("a", "a", "b", "c", "fail"):       # the third key is one too many
        c.mail(sender=user + "@from.example")
    m = metrics(k)
    got = {n: m["lruttl_%s" % n]["value"]["cache_name"]["twice"] for n in (
        "lookup_count", "hit_count", "miss_count", "populated_count", "error_count", "evict_count", "expire_count", "insert_count", "stale_count", "waiting_populate", "cache_size")}
    assert got == {"lookup_count": 5, "hit_count": 1, "miss_count": 4, "populated_count": 4, "error_count": 1, "evict_count": 2, "expire_count": 0, "insert_count": 0,
                   "stale_count": 0, "waiting_populate": 0, "cache_size": 2}
    assert {n: m["memoize_cache_%s_count" % n]["value"]["cache_name"] for n in ("lookup", "hit", "miss", "populated")} == {
        "lookup": {"twice": 5}, "hit": {"twice": 1}, "miss": {"twice": 4}, "populated": {"twice": 4}}
    c.close()


def test_waiting_for_another_and_stale(kumod):
    k = kumod(BASE + r'''
local n = 0
local slow = kumo.memoize(function(x) kumo.sleep(1.5) return x end, { name = 'slow', ttl = '1 hour', capacity = 9 })
local old = kumo.memoize(function(x) if io.open(DIR .. '/slow') then kumo.sleep(3) end return x end,
  { name = 'old', ttl = '10 ms', capacity = 9, populate_timeout = '100 ms', allow_stale_reads = true })
kumo.on('smtp_server_ehlo', function(domain) if domain == 'slow' then slow 'x' else old 'x' end end)
''')
    one, two = k.client(), k.client()
    one.send("EHLO slow\r\n")
    two.send("EHLO slow\r\n")
    assert wait_for(lambda: value(k, "lruttl_waiting_populate", "slow") == 1, 2)
    assert one.reply().startswith("250") and two.reply().startswith("250")
    m = {n: value(k, "lruttl_%s" % n, "slow") for n in ("waiting_populate", "lookup_count", "populated_count")}
    assert m == {"waiting_populate": 0, "lookup_count": 2, "populated_count": 1}
    one.cmd("EHLO old")
    open(k.dir + "/slow", "w").close()
    assert one.cmd("EHLO old").startswith("250")
    assert wait_for(lambda: (value(k, "lruttl_stale_count", "old"), one.cmd("EHLO old"))[0], 10)
    one.close()
    two.close()


def test_dkim(kumod, sink):
    s = sink()
    k = kumod(BASE + r'''
kumo.on('smtp_server_message_received', function(msg)
  msg:dkim_sign(kumo.dkim.ed25519_signer { domain = 'from.example', selector = 's', headers = { 'From', 'Subject' },
    key = { key_data = '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n' } })
end)
''', sink_port=s.port)
    assert not [n for n in metrics(k) if n.startswith("dkim_signer_")]     # what never happened is not shown
    c = k.client()
    c.cmd("EHLO source.example")
    for _ in range(3):
        assert c.mail(body=b"From: <s@from.example>\r\nSubject: x\r\n\r\nbody\r\n").startswith("250")
    assert s.wait(3) and b"\nDKIM-Signature:" in s.messages[0]
    m = metrics(k)
    assert {n: v["value"]["count"] for n, v in m.items() if n.startswith("dkim_signer_") and v["type"] == "histogram"} == {
        "dkim_signer_creation": 1, "dkim_signer_key_fetch": 1, "dkim_signer_message_parse": 3, "dkim_signer_sign": 3}
    assert {n: v["value"] for n, v in m.items() if n.startswith("dkim_signer_") and v["type"] == "counter"} == {
        "dkim_signer_cache_lookup_count": 3, "dkim_signer_cache_hit": 2, "dkim_signer_cache_miss": 1, "dkim_signer_key_cache_lookup_count": 1, "dkim_signer_key_cache_miss": 1}
    assert m["lruttl_hit_count"]["value"]["cache_name"]["dkim_signer_cache"] == 2
    for n in BUCKETS:
        if n.startswith("dkim_"):
            assert [b for b, _ in m[n]["value"]["bucket"]] == BUCKETS[n], n
    c.close()


def test_messages_that_wait(kumod, sink):
    """Two deferred messages come due: how late they were taken out, and how late they were put into the ready queue."""
    answers = iter(["451 4.7.1 later"] * 2)
    s = sink(lambda verb, line: next(answers, None) if verb == "RCPT" else None)
    k = kumod(BASE, sink_port=s.port)
    c = k.client()
    c.cmd("EHLO source.example")
    assert c.mail().startswith("250")
    assert not [n for n in metrics(k) if n.startswith("timeq_")]
    assert c.mail().startswith("250")
    assert s.wait(2, 30)
    m = metrics(k)
    assert {n: [b for b, _ in m[n]["value"]["bucket"]] for n in BUCKETS if n.startswith("timeq_") and n in m} == {
        n: b for n, b in BUCKETS.items() if n.startswith("timeq_")}
    assert m["timeq_pop_tardiness"]["value"]["count"] == m["timeq_reinsert_tardiness"]["value"]["count"] == 2
    assert 0 <= m["timeq_pop_tardiness"]["value"]["sum"] <= m["timeq_reinsert_tardiness"]["value"]["sum"] + .01 < 5
    assert m["timeq_pop_latency"]["value"]["count"] == m["timeq_pop_interval"]["value"]["count"] + 1
    c.close()


def test_redis(kumod, redis):
    k = kumod(BASE + r'''
local redis = require 'redis'
kumo.on('smtp_server_ehlo', function()
  local c = redis.open { node = 'redis://user:secret@127.0.0.1:%d/' }
  pcall(c.query, c, 'AUTHENTICATED')
end)
kumo.on('smtp_server_mail_from', function()
  local c = redis.open { node = 'redis://127.0.0.1:%d/' }
  c:query('PING')
  c:query('PING')
  c:query('EVAL', 'return 1', '0')
  pcall(c.query, c, 'NONSENSE')
end)
''' % (redis, redis))
    c = k.client()
    c.cmd("EHLO source.example")
    c.mail()
    found = metrics(k)["redis_operation_latency"]["value"]
    assert all(v["service"].startswith("redis://127.0.0.1:%d-" % redis) and "secret" not in v["service"] for v in found)
    assert {(v["operation"], v["status"]): v["@"]["count"] for v in found} == {("query", "ok"): 2, ("script", "ok"): 1, ("query", "error"): 2}
    c.close()


def test_memory_and_threads(kumod):
    k = kumod(BASE.replace("kumo.on('init', function()\n", "kumo.on('init', function()\n  kumo.set_memory_soft_limit(1 << 40)\n  kumo.set_memory_low_thresh(1 << 20)\n", 1))
    wait_for(lambda: value(k, "memory_low_count"), 5)
    m = metrics(k)
    assert m["memory_limit"]["value"] == 1 << 40 and m["memory_low_thresh"]["value"] == 1 << 20
    assert m["memory_low_count"]["value"] == 1 and "memory_over_limit_count" not in m
    assert 1 << 20 < m["memory_usage"]["value"] < 1 << 30
    if "memory_usage_rust" in m:        # not where the allocator keeps no books, as under sanitizers
        assert 1 << 18 < m["memory_usage_rust"]["value"] < 1 << 30
    size, parked = m["thread_pool_size"]["value"]["pool"], m["thread_pool_parked"]["value"]["pool"]
    assert set(size) == set(parked) == {"shards", "offload"}
    assert 0 <= parked["shards"] < size["shards"] and 1 <= parked["offload"] <= size["offload"]     # one shard answers this request


def test_metadata():
    """What documentation is made from: each family with its kind, labels and buckets."""
    out = {m["name"]: m for m in json.loads(subprocess.run([os.path.join(BIN, "kumod"), "--dump-metric-metadata"], capture_output=True, timeout=30).stdout)}
    assert all(set(m) == {"name", "help", "doc", "metric_type", "label_names", "buckets", "pruning"} for m in out.values())
    assert {n: out[n]["buckets"] for n in BUCKETS} == BUCKETS
    assert (out["memory_usage"]["metric_type"], out["memory_usage"]["buckets"]) == ("Gauge", [])
    assert out["redis_operation_latency"]["label_names"] == ["service", "operation", "status"]
    assert {n: out[n]["pruning"] for n in ("ready_count", "lruttl_hit_count", "message_count")} == {"ready_count": "Pruning", "lruttl_hit_count": "NonPruning", "message_count": "NonPruning"}
