"""redis.open, and the throttles and connection limits that two daemons share, with a real redis-server; skipped where there is none."""
import json, re, shutil, socket, subprocess, tempfile, time
import pytest
from kumotest import BASE, run_kumod, script, wait_for

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server")


class Server:
    def __init__(self, *args, port=None):
        if port is None:
            with socket.create_server(("127.0.0.1", 0)) as s:
                port = s.getsockname()[1]
        self.port, self.args, self.dir = port, args, tempfile.mkdtemp(prefix="redis-")
        self.start()

    def start(self):
        self.p = subprocess.Popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir, *self.args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def up():
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                return False
        assert wait_for(up)

    def stop(self):
        self.p.terminate()
        self.p.wait(20)

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


@pytest.fixture
def server():
    made = []

    def make(*a, **kw):
        made.append(Server(*a, **kw))
        return made[-1]
    yield make
    for s in made:
        s.close()


QUERIES = [
    ("'SET', 'k', 'v'", "true"), ("'GET', 'k'", '"v"'), ("'GET', 'none'", "null"), ("'INCR', 'n'", "1"), ("'INCRBY', 'n', 2", "3"), ("'INCRBYFLOAT', 'f', 1.5", '"1.5"'),
    ("'SET', 'b', true", "true"), ("'GET', 'b'", '"1"'), ("'SET', 'b', false", "true"), ("'GET', 'b'", '"0"'), ("'RPUSH', 'l', { 'a', 'b', { 'c' } }", "3"), ("'LRANGE', 'l', 0, -1", '["a","b","c"]'),
    ("'HSET', 'h', { one = 1 }", "1"), ("'HGETALL', 'h'", '["one","1"]'), ("'GET', 'k', nil", '"v"'), ("'EVAL', 'return { 1, { \"x\" }, redis.status_reply(\"OK\") }', 0", '[1,["x"],true]'), ("'PING'", '"PONG"'),
]


def test_queries(server):
    """What Lua values become, and what comes of the answers."""
    out = script("local c = require 'redis'.open { node = 'redis://127.0.0.1:%d/' }\n" % server().port +
                 "".join("print(kumo.serde.json_encode(c:query(%s)))\n" % q for q, _ in QUERIES) + r"print(c:query('SET', 'raw', '\0\xff\r\n'), c:query('GET', 'raw') == '\0\xff\r\n')")
    assert out == [a for _, a in QUERIES] + ["true\ttrue"]


OPENED = [   # parameters, of a server with the password `geheim`; the answer to PING or a part of the error
    ("node = 'redis://127.0.0.1:P'", "NOAUTH"), ("node = 'redis://:geheim@127.0.0.1:P'", "PONG"), ("node = 'redis://default:geheim@127.0.0.1:P/2'", "PONG"), ("node = { 'redis://:geheim@127.0.0.1:P' }", "PONG"),
    ("node = 'redis://127.0.0.1:P', password = 'geheim'", "PONG"), ("node = 'redis://nobody:x@127.0.0.1:P', username = 'default', password = 'geheim'", "PONG"),
    ("node = 'redis://:wrong@127.0.0.1:P'", "redis 127.0.0.1:P: WRONGPASS"), ("node = 'redis://:geheim@127.0.0.1:P/99'", "redis 127.0.0.1:P: ERR DB index is out of range"),
    ("node = 'redis://127.0.0.1:1'", "redis 127.0.0.1:1: Connection refused"), ("node = 'http://127.0.0.1'", "'http://127.0.0.1' is no URL of the form redis[s]://"), ("node = 'redis://127.0.0.1:0'", "no valid port"),
    ("", "missing field `node`"), ("node = 5", "NodeSpec"), ("node = 'redis://h', wait = 1", "unknown field `wait`"), ("node = 'redis://h', pool_size = -1", "pool_size"),
    ("node = 'redis://h', response_timeout = 'soon'", "redis.open.response_timeout"), ("node = { 'redis://a', 'redis://b' }", "clusters are not supported yet"), ("node = 'redis://a', cluster = true", "clusters are not supported yet"),
]


def test_open(server):
    port = str(server("--requirepass", "geheim").port)
    out = script("local redis = require 'redis'\n" + "".join("print(select(2, try(function() return redis.open({ %s }):query('PING') end)))\n" % p.replace(":P", ":" + port) for p, _ in OPENED))
    for (p, expected), got in zip(OPENED, out, strict=True):
        assert expected.replace(":P", ":" + port) in got, (p, got)


def test_faults(server):
    """Errors of the server, no answer in time, and a server that goes and comes back between two queries of one handle."""
    s = server()
    policy = r'''
local redis = require 'redis'
local c = redis.open { node = 'redis://127.0.0.1:%d/', response_timeout = '300ms' }
print(select(2, try(c.query, c, 'NONSENSE')))
c:query('SET', 'k', 'v')
print(select(2, try(c.query, c, 'INCR', 'k')))
print(select(2, try(c.query, c, 'BLPOP', 'none', 5)))
print(c:query('GET', 'k'))
c:query('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'no')
print(c:query('GET', 'k'))
''' % s.port
    out = script(policy)
    assert out[0].startswith("ERR unknown command 'NONSENSE'") and out[1:] == ["ERR value is not an integer or out of range", "redis 127.0.0.1:%d: timed out" % s.port, "v", "v"]


THROTTLED = r'''
kumo.on('smtp_server_mail_from', function(sender)
  local t = kumo.make_throttle('mail', (sender.user == 'local' and 'local:' or '') .. '3/h')
  local r = t:throttle()
  if r.throttled then kumo.reject(451, ('limit %d remaining %d retry %s'):format(r.limit, r.remaining, r.retry_after.secs > 0)) end
  kumo.reject(450, ('limit %d remaining %d retry %s'):format(r.limit, r.remaining, r.retry_after))
end)
'''


def shared(s, text):
    return "local REDIS = 'redis://127.0.0.1:%d/'\n" % s.port + BASE.replace("kumo.on('init', function()\n", "kumo.on('init', function()\n  kumo.configure_redis_throttles { node = REDIS, response_timeout = '2s', connect_timeout = '2s' }\n", 1) + text


def mail(k, user="s"):
    c = k.client()
    r = c.cmd("MAIL FROM:<%s@from.example>" % user)
    c.close()
    return r


def test_shared_throttles(kumod, server):
    """One rate for both; local ones apart; while the server is away the session fails and says why."""
    s = server()
    a, b = (kumod(shared(s, THROTTLED)) for _ in range(2))
    assert [mail(k) for k in (a, b, a)] == ["450 limit 3 remaining %d retry nil" % n for n in (2, 1, 0)]
    assert [mail(k) for k in (a, b)] == ["451 limit 3 remaining 0 retry true"] * 2
    assert [mail(k, "local") for k in (a, b)] == ["450 limit 3 remaining 2 retry nil"] * 2
    s.stop()
    assert mail(b).startswith("421 4.3.0")
    assert wait_for(lambda: "smtp_server_mail_from: client" in b.stderr() and "redis 127.0.0.1:%d: Connection refused" % s.port in b.stderr())
    s.start()               # empty
    assert [mail(k) for k in (b, a)] == ["450 limit 3 remaining 2 retry nil", "450 limit 3 remaining 1 retry nil"]


def test_shared_connection_limit(kumod, sink, server):
    """Two daemons with a limit of one connection never have two, and all mail goes."""
    s, to = server(), sink(lambda v, l: time.sleep(0.1) if v == "DOT" else None)
    a, b = (kumod("PATH = { connection_limit = 1, max_deliveries_per_connection = 3 }\n" + shared(s, ""), sink_port=to.port) for _ in range(2))
    for i in range(8):
        for k in (a, b):
            c = k.client()
            assert c.mail("r%d@a.example" % i).startswith("250")
            c.close()
    assert to.wait(16, 60), (len(to.messages), a.stderr()[-1000:])
    assert to.most_open == 1


def test_messages_wait_for_the_server(kumod, sink, server):
    """What is accepted while the server is away is kept, and delivered when it is back."""
    s, to = server(), sink()
    k = kumod("PATH = { max_message_rate = '1000/s' }\nQUEUE = { retry_interval = '1s', max_retry_interval = '1s' }\n" + shared(s, ""), sink_port=to.port)
    s.stop()
    c = k.client()
    for i in range(3):
        assert c.mail("r%d@a.example" % i).startswith("250")
    assert wait_for(lambda: "redis 127.0.0.1:%d" % s.port in k.stderr())
    assert to.messages == []
    s.start()
    assert to.wait(3, 60), k.stderr()[-2000:]
    assert k.stop() == 0 and len(to.messages) == 3
    assert len([r for r in k.records() if r["type"] == "Delivery"]) == 3


def test_throttles_need_the_server_at_the_start(server):
    s = server()
    s.stop()
    status, _, err = run_kumod(shared(s, ""))
    assert status == 1 and "redis 127.0.0.1:%d: Connection refused" % s.port in err and "init.lua" in err, err
    s.start()
    status, _, err = run_kumod(shared(s, "").replace("  kumo.configure_redis", "  kumo.configure_redis_throttles { node = REDIS }\n  kumo.configure_redis", 1))
    assert status == 1 and "redis already configured for throttles" in err, err
