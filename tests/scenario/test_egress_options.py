"""Options of make_egress_path, make_queue_config, make_egress_source and make_egress_pool, each by what the next server sees of it."""
import re, signal, socket, ssl, subprocess, time
import pytest
from kumotest import BASE, PRELUDE, wait_for

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


# --- how many, how often ---


def slow_sink(sink):
    return sink(lambda verb, line: time.sleep(0.1) if verb == "MAIL" else None)


@pytest.mark.parametrize("limit, most", [("connection_limit = 2", 2), ("connection_limit = 30", 30), ("connection_limit = 30, additional_connection_limits = { ['x'] = 2, ['y'] = 20 }", 2)])
def test_connections_at_a_time(kumod, sink, limit, most):
    s = slow_sink(sink)
    k = run(kumod, s.port, "PATH = { %s }" % limit)
    send(k, 60)     # few messages do not deserve the last connections
    assert s.wait(60)
    assert s.most_open == most if most < 20 else s.most_open > 4


def test_additional_connection_limits_cut_across(kumod, sink):
    """Two sites, one name: together no more than the limit."""
    s = slow_sink(sink)
    k = run(kumod, s.port, "PATH = { connection_limit = 10, additional_connection_limits = { all = 1 }, idle_timeout = '0s' }")
    send(k, 4)
    send(k, 4, "r%d@b.example")
    assert s.wait(8)
    assert s.most_open == 1


RATES = {"max_message_rate = '2/s,max_burst=1'": None, "additional_message_rate_throttles = { all = '2/s,max_burst=1' }": None,
         "max_deliveries_per_connection = 1, connection_limit = 1, max_connection_rate = '2/s,max_burst=1'": None}


@pytest.mark.parametrize("rate", RATES)
def test_rates(kumod, sink, rate):
    """Eight at two a second with a burst take more than two seconds, and less than without progress."""
    s = sink()
    k = run(kumod, s.port, "PATH = { idle_timeout = '5s', %s }" % rate)
    begin = time.time()
    send(k, 8)
    assert s.wait(8)
    assert 2 <= time.time() - begin < 10
    assert not [r for r in k.records() if r["type"] == "Delayed"]


@pytest.mark.parametrize("rate, why", [("max_message_rate", "MessageRateThrottle"), ("max_deliveries_per_connection = 1, connection_limit = 1, max_connection_rate", "ConnectionRateThrottle")])
def test_a_rate_beyond_idle_timeout_delays(kumod, sink, rate, why):
    """When the next may go only after idle_timeout, the messages go back and say when they are due."""
    s = sink()
    k = run(kumod, s.port, "PATH = { idle_timeout = '1s', %s = '1/h,max_burst=0' }; QUEUE = { max_age = '7 days' }" % rate)
    send(k, 4)
    got = k.wait_records("Delayed", 3)
    assert len(got) == 3 and all(why in r["response"]["content"] for r in got), got
    assert len(s.messages) == 1


def test_queue_max_message_rate(kumod, sink):
    s = sink()
    k = run(kumod, s.port, "QUEUE = { max_message_rate = '1/h,max_burst=0', max_age = '7 days' }")
    send(k, 3)
    got = k.wait_records("Delayed", 2)
    assert len(got) == 2 and all("MessageRateThrottle" in r["response"]["content"] for r in got), got
    assert len(s.messages) == 1


@pytest.mark.parametrize("rate", ["source_selection_rate = source == 's1' and '1/h,max_burst=0' or nil", "additional_source_selection_rates = source == 's1' and { ['sel-s1'] = '1/h,max_burst=0' } or nil"])
def test_source_selection_rate(kumod, sink, rate):
    """A source that was chosen often enough is passed over; without another the message waits."""
    s = sink()
    policy = BASE.replace("function()\n  local p = {", "function(domain, source)\n  local p = { %s," % rate) + SOURCES
    k = run(kumod, s.port, POOL, policy)
    send(k, 6)
    assert s.wait(6)
    used = [r["egress_source"] for r in k.wait_records("Delivery", 6)]
    assert sorted(used) == ["s1"] + ["s2"] * 5


def test_no_eligible_source(kumod, sink):
    s = sink()
    k = run(kumod, s.port, POOL + "POOL_ENTRIES = function() return { { name = 's1' } } end\nPATH = { source_selection_rate = '1/h,max_burst=0' }", BASE + SOURCES)
    send(k, 2)
    assert any("no sources for a.example pool=`p` are eligible for selection at this time" in t for t in transient(k))
    assert len(s.messages) == 1


# --- what is said on the wire ---


def one_connection(kumod, sink, path, n=3, policy=BASE, **kw):
    s = sink(**kw)
    k = run(kumod, s.port, "PATH = { connection_limit = 1, idle_timeout = '5s', %s }" % path, policy)
    send(k, n)
    assert s.wait(n), k.stderr()
    return k, s


def test_enable_rset(kumod, sink):
    assert verbs(one_connection(kumod, sink, "enable_rset = true")[1]).count("RSET") == 2
    assert verbs(one_connection(kumod, sink, "enable_rset = false")[1]).count("RSET") == 0


def test_use_lmtp(kumod, sink):
    assert verbs(one_connection(kumod, sink, "use_lmtp = true", 1)[1])[0] == "LHLO"
    assert verbs(one_connection(kumod, sink, "use_lmtp = false", 1)[1])[0] == "EHLO"


@pytest.mark.parametrize("on", [True, False])
def test_enable_pipelining(kumod, sink, on):
    """Whether RCPT comes before MAIL is answered."""
    srv = socket.create_server(("127.0.0.1", 0))
    k = run(kumod, srv.getsockname()[1], "PATH = { enable_pipelining = %s }" % str(on).lower())
    send(k)
    c = srv.accept()[0]
    c.settimeout(10)
    c.sendall(b"220 x\r\n")
    assert c.recv(1000).startswith(b"EHLO")
    c.sendall(b"250-x\r\n250 PIPELINING\r\n")
    time.sleep(0.3)
    got = c.recv(1000)
    assert got.startswith(b"MAIL") and (b"RCPT" in got) == on, got
    c.close()
    srv.close()


def test_ignore_8bit_checks(kumod, sink):
    body = b"Subject: x\r\n\r\n\xc3\xa9\r\n"
    for ignore, want in (("true", "Delivery"), ("false", "Bounce")):
        s = sink(caps=("PIPELINING",))
        k = run(kumod, s.port, "PATH = { ignore_8bit_checks = %s }" % ignore)
        send(k, body=body)
        assert k.wait_records(want), k.records()


def test_max_recipients_per_batch(kumod, sink):
    s = sink()
    k = run(kumod, s.port, "PATH = { max_recipients_per_batch = 2, connection_limit = 1 }; LISTENER = { batch_handling = 'BatchByDomain' }")
    assert k.client().mail(["r%d@a.example" % i for i in range(5)]).startswith("250")
    assert s.wait(3)
    per, n = [], 0
    for v in verbs(s):
        n = 0 if v == "MAIL" else n + (v == "RCPT")
        if v == "DATA":
            per.append(n)
    assert per == [2, 2, 1] and verbs(s).count("EHLO") == 1
    assert sum(len(r["recipient"]) if isinstance(r["recipient"], list) else 1 for r in k.wait_records("Delivery", 3)) == 5


def test_idle_timeout(kumod, sink):
    s = sink()
    k = run(kumod, s.port, "PATH = { idle_timeout = '1s' }")
    send(k)
    assert s.wait(1)
    begin = time.time()
    assert wait_for(lambda: verbs(s)[-1] == "QUIT", 10)
    assert 0.5 < time.time() - begin < 3


def test_remote_port(kumod, sink):
    """The source's port goes before the path's."""
    s = sink()
    k = run(kumod, 1, POOL + "SOURCE = function() return { remote_port = %d } end" % s.port, BASE + SOURCES)
    send(k)
    assert s.wait(1)
    assert "EHLO s1.example" in s.commands or "EHLO s2.example" in s.commands


@pytest.mark.parametrize("opt, phase, what", [("rset_timeout", "RSET", None), ("starttls_timeout", "STARTTLS", "STARTTLS")])
def test_timeouts(kumod, sink, opt, phase, what):
    state = {"hang": True}
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if phase == "STARTTLS" else None

    def reply(verb, line):
        if verb == phase and state["hang"]:
            state["hang"] = False
            return "hang"
    s = sink(reply, tls=tls, caps=())
    k = run(kumod, s.port, "PATH = { connection_limit = 1, %s = '1s', enable_tls = '%s' }; QUEUE = { retry_interval = '1s' }" % (opt, "OpportunisticInsecure" if tls else "Disabled"))
    begin = time.time()
    send(k, 2)
    if what:
        assert any("STARTTLS" in t for t in transient(k))
    else:
        assert s.wait(2, 20), k.stderr()
    assert 0.8 < time.time() - begin < 12


# --- hosts ---


@pytest.fixture
def two(sink):
    """Sinks on one port of 127.0.0.1 and 127.0.0.2."""
    made = []

    def make(first=None, second=None, **kw):
        a = sink(first, **kw)
        b = sink(second, addr=("127.0.0.2", a.port), **kw)
        made.extend((a, b))
        return a, b
    return make


def test_skip_hosts(kumod, two):
    a, b = two()
    k = run(kumod, a.port, "PATH = { skip_hosts = { '127.0.0.1' } }", TWO_HOSTS)
    send(k, 2)
    assert b.wait(2) and not a.commands
    k = run(kumod, a.port, "PATH = { skip_hosts = { '127.0.0.0/8' } }", TWO_HOSTS)
    send(k)
    assert transient(k) == ["KumoMTA internal: MX consisted solely of hosts on the skip_hosts list"]


def test_prohibited_hosts(kumod, two):
    a, b = two()
    k = run(kumod, a.port, "PATH = { prohibited_hosts = { '127.0.0.2' } }", TWO_HOSTS)
    send(k)
    r = k.wait_records("Bounce")[0]["response"]
    assert r["code"] == 550 and "prohibited_hosts" in r["content"] and not a.commands and not b.commands


@pytest.mark.parametrize("strategy, ok", [("Ipv4Only", True), ("Ipv6Only", False), ("Ipv6ThenIpv4", True), ("Ipv4ThenIpv6", True), ("Ipv4AndIpv6", True)])
def test_ip_lookup_strategy(kumod, sink, strategy, ok):
    s = sink()
    k = run(kumod, s.port, "PATH = { ip_lookup_strategy = '%s' }" % strategy)
    send(k)
    assert s.wait(1) if ok else "MX didn't resolve to any hosts" in transient(k)


@pytest.mark.parametrize("strategy, hosts", [("TerminateSession", "aa"), ("ReconnectSameHost", "aa"), ("ConnectNextHost", "ab")])
def test_reconnect_strategy(kumod, two, strategy, hosts):
    """The first message breaks the connection at its end; where the second goes."""
    seen, state = [], {"first": True}

    def reply(name):
        def answer(verb, line):
            if verb == "CONNECT":
                seen.append(name)
            if verb == "DOT" and state["first"]:
                state["first"] = False
                return "close"
        return answer
    a, b = two(reply("a"), reply("b"))
    k = run(kumod, a.port, "PATH = { connection_limit = 1, reconnect_strategy = '%s' }; QUEUE = { retry_interval = '1h' }" % strategy, TWO_HOSTS)
    send(k, 2)
    assert wait_for(lambda: len(a.messages) + len(b.messages) == 1), (seen, k.stderr())
    assert "".join(seen) == hosts


@pytest.mark.parametrize("on", [True, False])
def test_try_next_host_on_transport_error(kumod, two, on):
    a, b = two(lambda verb, line: "close" if verb == "DATA" else None)
    k = run(kumod, a.port, "PATH = { connection_limit = 1, try_next_host_on_transport_error = %s }; QUEUE = { retry_interval = '1h' }" % str(on).lower(), TWO_HOSTS)
    send(k)
    assert transient(k)
    assert wait_for(lambda: b.messages, 5 if on else 2) if on else not wait_for(lambda: b.messages, 2)


def test_consecutive_connection_failures(kumod, sink):
    """Past so many failures the whole ready queue is put off at once."""
    s = sink(lambda verb, line: "554 no" if verb == "CONNECT" else None)
    k = run(kumod, s.port, "PATH = { connection_limit = 1, consecutive_connection_failures_before_delay = 1 }; QUEUE = { retry_interval = '1h' }")
    send(k, 12)
    got = transient(k, 12)
    bulk = [t for t in got if "too many successive connection failures" in t]
    assert len(got) == 12 and len(bulk) >= 6, got


# --- TLS ---


@pytest.fixture
def tls(tmp_path):
    def make(**kw):
        if not (tmp_path / "c.pem").exists():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(tmp_path / "k.pem"), "-out", str(tmp_path / "c.pem"), "-days", "2", "-subj", "/CN=mx.a.example"], check=True, capture_output=True)
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
        if kw.get("broken"):
            c.set_ciphers("PSK")        # no cipher in common
            c.maximum_version = ssl.TLSVersion.TLSv1_2
        return c
    return make


def test_tls_options(kumod, sink, tls):
    for path, want in (("openssl_options = 'NO_TLSV1_3', openssl_cipher_list = 'ECDHE-RSA-AES128-GCM-SHA256'", ("ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2")),
                       ("openssl_cipher_suites = 'TLS_CHACHA20_POLY1305_SHA256'", ("TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3"))):
        s = sink(tls=tls())
        k = run(kumod, s.port, "PATH = { enable_tls = 'RequiredInsecure', tls_prefer_openssl = true, %s }" % path)
        send(k)
        assert s.wait(1), k.stderr()
        assert s.ciphers[0][:2] == want
    s = sink(tls=tls())
    k = run(kumod, s.port, "PATH = { enable_tls = 'RequiredInsecure', rustls_cipher_suites = { 'TLS13_CHACHA20_POLY1305_SHA256' } }")
    send(k)
    assert s.wait(1) and s.ciphers[0][0] == "TLS_CHACHA20_POLY1305_SHA256"


@pytest.mark.parametrize("on", [True, False])
def test_opportunistic_tls_reconnect(kumod, sink, tls, on):
    s = sink(tls=tls(broken=True))
    k = run(kumod, s.port, "PATH = { enable_tls = 'OpportunisticInsecure', opportunistic_tls_reconnect_on_failed_handshake = %s }; QUEUE = { retry_interval = '1h' }" % str(on).lower())
    send(k)
    if on:
        assert s.wait(1), k.stderr()
        assert "STARTTLS" in verbs(s) and not s.ciphers
    else:
        assert transient(k) and not s.messages


@pytest.mark.parametrize("mode", ["OpportunisticInsecure", "RequiredInsecure"])
def test_remember_broken_tls(kumod, sink, tls, mode):
    """After one failed handshake the site is taken as without STARTTLS; where TLS is required that is an error that says so."""
    s = sink(tls=tls(broken=True))
    k = run(kumod, s.port, "PATH = { enable_tls = '%s', remember_broken_tls = '1h' }; QUEUE = { retry_interval = '1s' }" % mode)
    send(k)
    assert transient(k)
    if mode.startswith("Opp"):
        assert s.wait(1, 15), k.stderr()
        assert verbs(s).count("STARTTLS") == 1
    else:
        assert wait_for(lambda: any("remember_broken_tls" in t for t in transient(k)), 15), transient(k)
        assert not s.messages


@pytest.mark.parametrize("allow", [True, False])
def test_auth_without_valid_certificate(kumod, sink, tls, allow):
    s = sink(lambda verb, line: "235 2.7.0 ok" if verb == "AUTH" else None, tls=tls(), caps=("AUTH PLAIN",))
    k = run(kumod, s.port, "PATH = { enable_tls = 'RequiredInsecure', smtp_auth_plain_username = 'u', smtp_auth_plain_password = { key_data = 'p' }, allow_smtp_auth_plain_without_valid_certificate = %s }; QUEUE = { retry_interval = '1h' }" % str(allow).lower())
    send(k)
    if allow:
        assert s.wait(1) and "AUTH" in verbs(s)
    else:
        assert any("was not validated" in t for t in transient(k)) and "AUTH" not in verbs(s)


# --- sources that fail ---


@pytest.mark.parametrize("trigger, failures", [("", 1), ("trigger = { Threshold = '3/1h' },", 3)])
def test_suspend_when_unplumbed(kumod, sink, trigger, failures):
    """An address that is not here: the other source does the work, and the metrics tell."""
    s = sink()
    k = run(kumod, s.port, POOL + "SOURCE = function(n) return n == 's1' and { source_address = '192.0.2.1', suspend_when_unplumbed = { %s duration = '1h' } } or {} end" % trigger, BASE + SOURCES)
    for i in range(20):
        send(k)
    assert s.wait(20, 40), (len(s.messages), k.stderr()[-2000:])
    assert k.metric("egress_source_health_suspended", source="s1", reason="Unplumbed") == 1
    assert k.metric("egress_source_health_suspensions_total", source="s1", reason="Unplumbed") == 1
    assert k.metric("egress_source_connection_failures_total", source="s1", kind="Unplumbed") >= failures
    assert "WARN" in next(l for l in k.lines if "s1 is suspended" in l)


@pytest.mark.parametrize("proxy", ["ha_proxy", "socks5_proxy"])
def test_suspend_when_proxy_unhealthy(kumod, sink, proxy):
    s = sink()
    k = run(kumod, s.port, POOL + "SOURCE = function(n) return n == 's1' and { %s_server = '127.0.0.1:1', %s_source_address = '127.0.0.1', suspend_when_proxy_unhealthy = { duration = '3s' } } or {} end" % (proxy, proxy), BASE + SOURCES)
    send(k, 4)
    assert s.wait(4, 30)
    assert wait_for(lambda: k.metric("egress_source_health_suspensions_total", source="s1", reason="ProxyUnhealthy") == 1)
    # it ends by itself
    assert wait_for(lambda: k.metric("egress_source_health_suspended", source="s1", reason="ProxyUnhealthy") == 0, 10)
    assert wait_for(lambda: "s1 is no longer suspended" in k.stderr())


def test_all_sources_suspended(kumod, sink):
    """Then messages wait until the earliest suspension ends."""
    s = sink()
    k = run(kumod, s.port, POOL + "SOURCE = function(n) return { source_address = '192.0.2.1', suspend_when_unplumbed = { duration = '1h' } } end", BASE + SOURCES)
    send(k, 4)
    assert wait_for(lambda: any("are eligible for selection at this time" in r["response"]["content"] for r in k.records() if r["type"] == "TransientFailure"), 20), [r["response"] for r in k.records()]


# --- when configuration is asked for again ---

COUNTING = r'''
local function told(what) local f = io.open(DIR .. '/told-' .. what, 'a'); f:write 'x'; f:close() end
'''


def told(k, what):
    try:
        return len(open("%s/told-%s" % (k.dir, what)).read())
    except OSError:
        return 0


@pytest.mark.parametrize("what", ["path", "queue", "source", "pool"])
def test_refresh(kumod, sink, what):
    """By age with Ttl (and ttl of sources and pools), by bumping the epoch with Epoch."""
    s = sink()
    policy = COUNTING + BASE.replace("kumo.on('get_egress_path_config', function()", "kumo.on('get_egress_path_config', function() told 'path'").replace("kumo.on('get_queue_config', function()", "kumo.on('get_queue_config', function() told 'queue'") + SOURCES.replace("function(n) return kumo", "function(n) told 'pool' return kumo").replace("function(n)\n", "function(n) told 'source'\n")
    policy = PRELUDE + policy.replace(PRELUDE, "")      # told needs DIR
    k = run(kumod, s.port, "POOL_TTL = '1s'; POOL_ENTRIES = function() return { { name = 's1' } } end; SOURCE = function() return { ttl = '1s' } end; QUEUE = { egress_pool = 'p', refresh_interval = '1s' }; PATH = { refresh_interval = '1s', idle_timeout = '0s' }", policy)
    send(k)
    assert s.wait(1)
    first = told(k, what)
    assert first >= 1
    if what in ("path", "queue", "pool"):
        assert wait_for(lambda: send(k) or told(k, what) > first, 8, 0.5)
    if what in ("path", "queue"):
        k.stop()
        k = run(kumod, s.port, "QUEUE = { refresh_strategy = 'Epoch', refresh_interval = '1s' }; PATH = { refresh_strategy = 'Epoch', refresh_interval = '1s', idle_timeout = '0s' }", policy)
        send(k)
        assert wait_for(lambda: told(k, what) >= 1)
        first = told(k, what)
        for _ in range(4):
            time.sleep(0.7)
            send(k)
        assert told(k, what) == first
        assert k.http("POST", "/api/admin/bump-config-epoch")[0] == 200
        assert wait_for(lambda: send(k) or told(k, what) > first, 8, 0.5)


def test_max_ready_and_reap(kumod, sink):
    """No more than max_ready are ready; an empty queue goes after reap_interval."""
    state = {"hang": True}
    s = sink(lambda verb, line: "hang" if verb == "CONNECT" and state["hang"] else None)
    k = run(kumod, s.port, "PATH = { max_ready = 3, connection_limit = 1 }; QUEUE = { reap_interval = '1s' }")
    send(k, 8)
    assert wait_for(lambda: k.metric("ready_full")), k.stderr()
    assert k.metric("ready_count", service="smtp_client") <= 3
    assert len([r for r in k.wait_records("Delayed", 4) if "ReadyQueueWasFull" in r["response"]["content"]]) >= 4
    k.p.kill()
    k = run(kumod, s.port, "QUEUE = { reap_interval = '1s' }")
    state["hang"] = False
    send(k)
    assert s.wait(1)
    assert wait_for(lambda: k.metric("scheduled_count", queue="a.example") is None, 10)


# --- what takes too long ---

LUA = BASE.replace("local q = {", "local q = { protocol = { custom_lua = { constructor = 'make.conn' } },") + r'''
kumo.on('make.conn', function()
  local c = {}
  function c:send(m) kumo.sleep(300) return 'ok' end
  return c
end)
'''


def test_watchdog(kumod, sink):
    """A delivery that makes no progress is ended: a Delayed record names it, the message waits for another attempt."""
    k = run(kumod, 1, "PATH = { dispatcher_progress_watchdog_timeout = '2s' }", LUA)
    send(k)
    r = k.wait_records("Delayed", 1, 20)[0]
    assert r["response"]["code"] == 451 and r["response"]["enhanced_code"] == {"class": 4, "subject": 4, "detail": 1}
    m = re.match(r'dispatcher watchdog aborted task; phase=DeliveringMessage detail="?[^ ].* session=(\S+) age=\d', r["response"]["content"])
    assert m and m[1] == r["session_id"], r
    assert k.metric("dispatcher_watchdog_aborted_total") >= 1
    assert k.metric("scheduled_count", queue="a.example") == 1 or k.metric("ready_count", service="lua") is not None
    k.p.kill()


@pytest.mark.parametrize("ms, least, most", [("1s", 0.8, 4), ("8s", 6, 14)])
def test_system_shutdown_timeout(kumod, sink, ms, least, most):
    """How long a delivery may go on while stopping; it is not lost then."""
    s = sink(lambda verb, line: "hang" if verb == "DOT" else None)
    k = run(kumod, s.port, "PATH = { system_shutdown_timeout = '%s' }" % ms)
    send(k)
    assert wait_for(lambda: "DATA" in verbs(s))
    begin = time.time()
    assert k.stop(signal.SIGTERM) == 0
    assert least < time.time() - begin < most
    s.reply = lambda verb, line: None
    k.start()
    assert s.wait(1)


def test_a_delivery_may_end_while_stopping(kumod, sink):
    s = sink(lambda verb, line: time.sleep(6.5) if verb == "DOT" else None)
    k = run(kumod, s.port, "PATH = { system_shutdown_timeout = '20s' }")
    send(k)
    assert wait_for(lambda: "DATA" in verbs(s))
    assert k.stop() == 0
    assert len(s.messages) == 1 and [r["type"] for r in k.records()] == ["Reception", "Delivery"]


def test_max_retry_interval(kumod, sink):
    """The interval doubles up to it: four attempts within seconds instead of ever more."""
    s = sink(lambda verb, line: "451 4.3.0 no" if verb == "MAIL" else None)
    k = run(kumod, s.port, "QUEUE = { retry_interval = '1s', max_retry_interval = '1s' }")
    send(k)
    begin = time.time()
    assert len(k.wait_records("TransientFailure", 6, 15)) >= 6
    assert time.time() - begin < 13


def test_pool_weights(kumod, sink):
    """Weights share, 0 is never used."""
    s = sink()
    k = run(kumod, s.port, POOL + "POOL_ENTRIES = function() return { { name = 's1', weight = 3 }, { name = 's2' }, { name = 's3', weight = 0 } } end", BASE + SOURCES)
    send(k, 40)
    assert s.wait(40)
    used = [r["egress_source"] for r in k.wait_records("Delivery", 40)]
    assert (used.count("s1"), used.count("s2"), used.count("s3")) == (30, 10, 0)
