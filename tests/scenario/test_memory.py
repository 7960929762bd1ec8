"""Memory runs short: intake stops with words, what is held for speed goes, what was accepted stays, and it is taken again when there is room."""
import json, os, signal, subprocess, sys, time
import pytest
from kumotest import BASE, Client, Kumod, run_kumod, wait_for

# the limits follow a file: "soft=1 low=0"
FOLLOW = r'''
kumo.on('follow', function()
  local last
  while true do
    local f = io.open(DIR .. '/limits')
    local text = f and f:read 'a' or ''
    if f then f:close() end
    if text ~= last then
      kumo.set_memory_soft_limit(math.tointeger(tonumber(text:match 'soft=(%d+)' or '0')))
      kumo.set_memory_low_thresh(math.tointeger(tonumber(text:match 'low=(%d+)' or '0')))
      last = text
    end
    kumo.sleep(0.02)
  end
end)
local counted = kumo.memoize(function(x)
  local f = io.open(DIR .. '/asked', 'a')
  f:write(x .. '\n')
  f:close()
  return x
end, { name = 'test.counted', ttl = '1h', capacity = 10 })
kumo.on('smtp_server_ehlo', function(d) counted(d) end)
'''
POLICY = BASE.replace("kumo.on('init', function()\n", "kumo.on('init', function()\n  kumo.spawn_task { event_name = 'follow', args = {} }\n  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mta.example', relay_hosts = { '127.0.0.1' }, deferred_spool = true }\n", 1) + FOLLOW
BODY = b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 3000


def limits(k, text=""):
    with open(k.dir + "/limits.new", "w") as f:
        f.write(text)
    os.rename(k.dir + "/limits.new", k.dir + "/limits")


def short(k):
    limits(k, "soft=1")
    assert wait_for(lambda: "memory limit reached" in k.stderr()), k.stderr()


def roomy(k):
    limits(k)
    assert wait_for(lambda: Client(k.ports["smtp"]).greeting.startswith("220")), k.stderr()


def inject(k, rcpt="h@a.example"):
    return k.http("POST", "/api/inject/v1", {"envelope_sender": "s@from.example", "recipients": [{"email": rcpt}], "content": "Subject: x\n\nbody"})


def test_intake_stops_and_goes_on(kumod, sink):
    state = {"mail": "451 4.3.0 not now"}
    s = sink(lambda verb, line: state["mail"] if verb == "MAIL" else None)
    k = kumod(POLICY, sink_port=s.port)
    for i in range(5):
        assert k.client().mail("r%d@a.example" % i).startswith("250")
    assert json.loads(inject(k)[1])["success_count"] == 1
    assert k.http("GET", "/api/check-liveness/v1") == (200, "OK")
    early = k.client()
    assert early.cmd("EHLO once.example").startswith("250")
    assert k.metric("memory_over_limit_count") is None
    short(k)
    assert wait_for(lambda: k.http("GET", "/api/check-liveness/v1") == (503, "load shedding"))
    assert k.client().greeting == "421 4.3.2 mta.example load shedding. Try later"
    assert inject(k) == (503, "load shedding")
    assert early.cmd("MAIL FROM:<s@from.example>") == "421 4.3.2 mta.example load shedding. Try later"
    assert early.reply() == ""                                          # and it is closed
    assert k.metric("memory_over_limit_count") == 1
    assert k.metric("memory_limit") == 1
    assert k.metric("total_connections_denied", service="esmtp_listener") >= 2
    # what was accepted is delivered meanwhile
    state["mail"] = None
    assert s.wait(6), k.stderr()
    roomy(k)
    assert "there is room again" in k.stderr()
    assert k.http("GET", "/api/check-liveness/v1") == (200, "OK")
    assert k.client().mail("last@a.example").startswith("250")
    assert s.wait(7)
    assert k.stop() == 0
    assert len(s.rcpts) == 7 and len([r for r in k.records() if r["type"] == "Delivery"]) == 7


def test_caches_are_given_up(kumod, sink):
    s = sink()
    k = kumod(POLICY, sink_port=s.port)
    asked = lambda: open(k.dir + "/asked").read().split().count("me.example")
    for _ in range(3):
        c = k.client()
        assert c.cmd("EHLO me.example").startswith("250") and c.mail().startswith("250")
    assert s.wait(3) and asked() == 1
    assert k.metric("lruttl_cache_size", cache_name="dns_resolver_mx") >= 1
    short(k)
    assert wait_for(lambda: k.metric("lruttl_cache_size", cache_name="dns_resolver_mx") == 0)
    roomy(k)
    assert k.client().cmd("EHLO me.example").startswith("250")
    assert asked() == 2


def full_ready_queue(k, s, n, port=None):
    """N messages in a ready queue whose one connection hangs."""
    for i in range(n):
        assert Client(port or k.ports["smtp"]).mail("r%d@a.example" % i, BODY).startswith("250")


def listeners(k):
    """(that with deferred_spool, the usual one)"""
    import re
    return [int(p) for p in re.findall(r"smtp listener on 127.0.0.1:(\d+)", k.stderr())]


@pytest.mark.parametrize("deferred", [False, True])
def test_bodies_go_to_the_spool(sink, kumod, deferred):
    """Ready messages give up their bodies; with deferred spooling they are written first, and survive a kill then."""
    state = {"on": True}
    s = sink(lambda verb, line: "hang" if verb == "CONNECT" and state["on"] else None)
    k = kumod("PATH = { connection_limit = 1 }\n" + POLICY, sink_port=s.port)
    full_ready_queue(k, s, 20, listeners(k)[0 if deferred else 1])
    assert wait_for(lambda: k.metric("message_data_resident_count") == 20)
    short(k)
    assert wait_for(lambda: k.metric("message_data_resident_count") <= 1), k.metric("message_data_resident_count")    # one is with the connection
    k.p.send_signal(signal.SIGKILL)
    k.p.wait()
    state["on"] = False
    limits(k)
    k.start()
    wanted = 20 if not deferred else 19
    assert wait_for(lambda: len(set(s.rcpts)) >= wanted, 20), (s.rcpts, k.stderr())
    assert all(m.endswith(BODY[-100:]) and len(m) > len(BODY) for m in s.messages)


# policy -> bodies and envelopes that stay in memory, of 10; one more of each may be with the connection
POLICIES = {None: (0, 0), "ShrinkDataAndMeta": (0, 0), "ShrinkData": (0, 10), "NoShrink": (10, 10)}


@pytest.mark.parametrize("policy", POLICIES)
def test_low_memory_reduction_policy(sink, kumod, policy):
    s = sink(lambda verb, line: "hang" if verb == "CONNECT" else None)
    k = kumod("PATH = { connection_limit = 1, low_memory_reduction_policy = %s }\n" % ("'%s'" % policy if policy else "nil") + POLICY, sink_port=s.port)
    limits(k, "low=1")
    assert wait_for(lambda: k.metric("memory_low_count") == 1)
    full_ready_queue(k, s, 11)
    bodies, envs = POLICIES[policy]
    assert wait_for(lambda: (k.metric("message_data_resident_count"), k.metric("message_meta_resident_count")) in
                    [(b, e) for b in (bodies, bodies + 1) for e in (envs, envs + 1)]), (k.metric("message_data_resident_count"), k.metric("message_meta_resident_count"))
    k.p.kill()


@pytest.mark.parametrize("policy", POLICIES)
def test_no_memory_reduction_policy(sink, kumod, policy):
    """Messages that become ready again while there is no headroom. They come with all parts: shrink_policy leaves them there."""
    state = {"defer": True}
    s = sink(lambda verb, line: ("451 4.3.0 not now" if verb == "MAIL" else None) if state["defer"] else "hang" if verb == "CONNECT" else None)
    k = kumod("QUEUE = { retry_interval = '3s', shrink_policy = { { interval = '0s', policy = 'NoShrink' } } }\nPATH = { connection_limit = 1, idle_timeout = '0s', low_memory_reduction_policy = 'NoShrink', no_memory_reduction_policy = %s }\n" %
              ("'%s'" % policy if policy else "nil") + POLICY, sink_port=s.port)
    for i in range(11):
        assert k.client().mail("r%d@a.example" % i, BODY).startswith("250")
    assert k.wait_records("TransientFailure", 11)
    state["defer"] = False
    assert k.metric("message_data_resident_count") == 11
    short(k)
    ready = lambda: k.metric("ready_count", service="smtp_client")
    bodies, envs = POLICIES[policy]
    # those that are ready already when memory runs short give their bodies up in any case: all wait here
    assert wait_for(lambda: ready() and ready() >= 10), (ready(), k.stderr())
    got = lambda: (k.metric("message_data_resident_count"), k.metric("message_meta_resident_count"))
    assert wait_for(lambda: got() in [(b, e) for b in (bodies, bodies + 1) for e in (envs, envs + 1)]), got()
    k.p.kill()


GET = "print(kumo.get_memory_hard_limit(), kumo.get_memory_soft_limit(), kumo.get_memory_low_thresh())"


@pytest.mark.parametrize("env, set, want", [
    ({"KUMOD_MEMORY_HARD_LIMIT": "1000"}, "", "1000\t750\t600"),
    ({"KUMOD_MEMORY_SOFT_LIMIT": "500"}, "", "500\t400"),
    ({"KUMOD_MEMORY_HARD_LIMIT": "1000", "KUMOD_MEMORY_SOFT_LIMIT": "500"}, "", "1000\t500\t400"),
    ({"KUMOD_MEMORY_HARD_LIMIT": "1000"}, "kumo.set_memory_hard_limit(2000)", "2000\t1500\t1200"),
    ({}, "kumo.set_memory_hard_limit(2000) kumo.set_memory_soft_limit(100) kumo.set_memory_low_thresh(7)", "2000\t100\t7"),
])
def test_where_limits_come_from(env, set, want):
    status, out, err = run_kumod("local kumo = require 'kumo'\nkumo.on('main', function() %s %s end)" % (set, GET), "--script", env=env)
    assert status == 0 and out.strip().endswith(want), (out, err)


def test_a_limit_that_is_no_number():
    status, _, err = run_kumod(BASE, env={"KUMOD_MEMORY_SOFT_LIMIT": "1G"})
    assert status == 1 and "KUMOD_MEMORY_SOFT_LIMIT" in err and "`1G`" in err and "listener on" not in err


@pytest.fixture
def cgroup():
    """A cgroup of 300 MB, v2 where it has the controller, else v1: (path, file of its limit). Or a skip."""
    where = None
    for root, limit in (("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")):
        path = "%s/kumotest-%d" % (root, os.getpid())
        try:
            if where or not os.path.exists(root + "/cgroup.procs"):
                continue
            os.mkdir(path)
            with open(path + "/" + limit, "r+") as f:     # without the controller it is not there
                f.write(str(300 << 20))
            where = path, limit
        except OSError:
            if os.path.isdir(path):
                os.rmdir(path)
    if not where:
        pytest.skip("no cgroup with a memory controller can be made here")
    yield where
    assert wait_for(lambda: not open(where[0] + "/cgroup.procs").read())
    os.rmdir(where[0])


def test_a_cgroup(cgroup, sink):
    """The limit is 75 % of the cgroup's; what others in it hold counts, but not the page cache."""
    path, limit = cgroup
    inside = ["/bin/sh", "-c", "echo $$ > '%s/cgroup.procs' && exec \"$@\"" % path, "sh"]
    s = sink()
    k = Kumod(BASE, sink_port=s.port, wrap=inside)
    try:
        assert k.metric("memory_limit") == 225 << 20
        own = k.metric("memory_usage")
        assert 1 << 20 < own < 150 << 20
        subprocess.run(inside + ["dd", "if=/dev/zero", "of=%s/cache" % k.dir, "bs=1M", "count=280", "conv=fsync", "status=none"], check=True)
        assert wait_for(lambda: k.metric("memory_usage") < own + (60 << 20), 5), (own, k.metric("memory_usage"))
        assert k.client().mail().startswith("250")
        hog = subprocess.Popen(inside + [sys.executable, "-c", "x = bytearray(230 << 20); x[::4096] = b'x' * len(x[::4096]); print('held', flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert hog.stdout.readline() == "held\n"
            assert wait_for(lambda: k.client().greeting == "421 4.3.2 mta.example load shedding. Try later"), (k.metric("memory_usage"), k.stderr())
        finally:
            hog.communicate("\n")
        assert wait_for(lambda: k.client().greeting.startswith("220")), k.stderr()
        assert k.client().mail().startswith("250") and s.wait(2)
        assert k.stop() == 0
    finally:
        k.close()
