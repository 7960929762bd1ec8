"""Options of the way out, each as the next server sees it and as the records tell it: paths, sources, mx_list."""
import socket, threading, time
import pytest
from kumotest import BASE

BATCH = "LISTENER = { batch_handling = 'BatchByDomain' }\n"
SOURCE = r'''
kumo.on('get_egress_pool', function(name) return kumo.make_egress_pool { name = name, entries = { { name = 'src' } } } end)
kumo.on('get_egress_source', function(name) local s = { name = name, %s }; return kumo.make_egress_source(s) end)
'''


def start(kumod, s, path="", pre="", post="", queue="", zones=""):
    text = "PATH = { %s }\nQUEUE = { %s }\n" % (path, queue) + pre + BASE + post
    if zones:
        text = text.replace("zone 'b.example' }", "zone 'b.example', [[\n%s\n]] }" % zones)
    return kumod(text, sink_port=s.port)


def verbs(s, *names):
    return [c for c in s.commands if c.split()[0].split(":")[0] in names]


# path, what is sent (recipients of a message each), replies, wanted record types with code and a part of the text
OUTCOMES = {
    "prohibited_hosts, by default loopback": ("prohibited_hosts = { '127.0.0.0/8', '::1' }", None, ("Bounce", 550, "mx.a.example./127.0.0.1 is on the list of prohibited_hosts")),
    "skip_hosts leaves nothing": ("skip_hosts = { '127.0.0.1' }", None, ("TransientFailure", 451, "KumoMTA internal: MX consisted solely of hosts on the skip_hosts list")),
    "ip_lookup_strategy leaves nothing": ("ip_lookup_strategy = 'Ipv6Only'", None, ("TransientFailure", 451, "MX didn't resolve to any hosts")),
    "connection_limit of another path": ("additional_connection_limits = { all = 5 }", None, ("Delivery", 250, "queued")),
    "tls that is not there": ("enable_tls = 'RequiredInsecure'", None, ("TransientFailure", 400, "tls policy is RequiredInsecure but STARTTLS is not advertised by mx.a.example")),
    "no auth in clear": ("smtp_auth_plain_username = 'u', smtp_auth_plain_password = { key_data = 'p' }", None, ("TransientFailure", 400, "TLS is not enabled and AUTH PLAIN is required")),
    "a password that cannot be read": ("smtp_auth_plain_username = 'u', smtp_auth_plain_password = '/no/such', allow_smtp_auth_plain_without_tls = true", None, ("TransientFailure", 400, "smtp_auth_plain_password")),
    "starttls_timeout": ("enable_tls = 'RequiredInsecure', starttls_timeout = '300ms'", {"EHLO": "250-sink\n250 STARTTLS", "STARTTLS": "hang"}, ("TransientFailure", 400, "Timed Out")),
    "banner_timeout": ("banner_timeout = '300ms'", {"CONNECT": "hang"}, ("TransientFailure", 400, "Timed Out")),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_outcome(kumod, sink, case):
    path, replies, (kind, code, text) = OUTCOMES[case]
    s = sink(lambda verb, line: (replies or {}).get(verb))
    k = start(kumod, s, path)
    assert k.client().mail().startswith("250")
    r = k.wait_records(kind)
    assert r and (r[0]["response"]["code"], text in r[0]["response"]["content"]) == (code, True), r or k.records()


def test_rset_is_between_two_messages(kumod, sink):
    for option, want in (("enable_rset = true", 2), ("enable_rset = false", 0)):
        s = sink()
        k = start(kumod, s, "connection_limit = 1, " + option)
        c = k.client()
        for i in range(3):
            assert c.mail("r%d@a.example" % i).startswith("250")
            assert s.wait(i + 1)
        assert len(verbs(s, "RSET")) == want and len(verbs(s, "EHLO")) == 1


def test_rset_timeout(kumod, sink):
    s = sink(lambda v, l: "hang" if v == "RSET" else None)
    k = start(kumod, s, "connection_limit = 1, rset_timeout = '300ms'")
    c = k.client()
    c.mail("r1@a.example")
    assert s.wait(1)
    c.mail("r2@a.example")
    r = k.wait_records("TransientFailure")
    assert r and r[0]["response"]["code"] == 421 and "Timed Out waiting 0.3s for response to cmd=RSET" in r[0]["response"]["content"]


def test_max_recipients_per_batch(kumod, sink):
    s = sink()
    k = start(kumod, s, "max_recipients_per_batch = 2, connection_limit = 1", BATCH)
    assert k.client().mail(["r%d@a.example" % i for i in range(5)]).startswith("250")
    r = k.wait_records("Delivery", 3)
    assert [x["recipient"] for x in r] == [["r0@a.example", "r1@a.example"], ["r2@a.example", "r3@a.example"], "r4@a.example"]
    assert len(verbs(s, "MAIL")) == 3 and len(verbs(s, "EHLO")) == 1 and not k.wait_records("TransientFailure", 1, 0.3)


def test_lmtp_answers_for_each_recipient(kumod):
    """RFC 2033: LHLO, and after the dot a reply for each recipient that was accepted."""
    srv, seen = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        k = srv.accept()[0]
        f = k.makefile("rb")
        k.sendall(b"220 lmtp\r\n")
        for raw in f:
            line = raw.decode().strip()
            seen.append(line)
            if line == "DATA":
                k.sendall(b"354 go\r\n")
                while f.readline() != b".\r\n":
                    pass
                k.sendall(b"250 2.0.0 first\r\n452 4.2.2 full\r\n550 5.1.1 gone\r\n")
            else:
                k.sendall(b"221 bye\r\n" if line == "QUIT" else b"250 ok\r\n")
    threading.Thread(target=serve, daemon=True).start()

    class Port:
        port = srv.getsockname()[1]
    k = start(kumod, Port, "use_lmtp = true", BATCH, queue="retry_interval = '1m'")
    assert k.client().mail(["r1@a.example", "r2@a.example", "r3@a.example"]).startswith("250")
    assert k.wait_records("Bounce") and k.wait_records("TransientFailure")
    assert {r["type"]: (r["recipient"], r["response"]["code"]) for r in k.records()[1:]} == {
        "Delivery": ("r1@a.example", 250), "TransientFailure": ("r2@a.example", 452), "Bounce": ("r3@a.example", 550)}
    assert seen[0].startswith("LHLO ")
    srv.close()


def test_names_in_ehlo_and_ports(kumod, sink):
    """ehlo_domain: the path's before the source's; remote_port of the source before all, a port in mx_list before smtp_port."""
    cases = ((("", "ehlo_domain = 'src.example'"), "EHLO src.example"), (("ehlo_domain = 'path.example'", "ehlo_domain = 'src.example'"), "EHLO path.example"))
    for (path, source), want in cases:
        s = sink()
        k = start(kumod, s, path, post=SOURCE % source, queue="egress_pool = 'p'")
        k.client().mail()
        assert s.wait(1) and s.commands[0] == want
    s = sink()
    k = start(kumod, s, "smtp_port = 1", post=SOURCE % "remote_port = SINK, source_address = '127.0.0.41'", queue="egress_pool = 'p'")
    k.client().mail()
    r = k.wait_records("Delivery")
    assert r and r[0]["source_address"]["address"].startswith("127.0.0.41:") and (r[0]["egress_pool"], r[0]["egress_source"]) == ("p", "src")


MX_LISTS = {
    "a name": ("'mx.b.example'", "mx_list:mx.b.example", "mx.b.example", True),
    "a name with a port": ("'mx.b.example:' .. SINK", None, "mx.b.example", False),
    "an address": ("'[127.0.0.1]'", "mx_list:[127.0.0.1]", "[127.0.0.1]", True),
    "an address with a port": ("'[127.0.0.1]:' .. SINK", None, "[127.0.0.1]", False),
    "an address of IPv6": ("'[::ffff:127.0.0.1]:' .. SINK", None, "[::ffff:127.0.0.1]", False),
    "a tagged address": ("'[IPv6:::ffff:127.0.0.1]'", None, "[IPv6:::ffff:127.0.0.1]", True),
    "an address without brackets": ("'127.0.0.1:' .. SINK", None, "127.0.0.1", False),
    "resolved": ("{ name = 'made.up', addr = '127.0.0.1' }", "mx_list:127.0.0.1", "made.up", True),
    "resolved with a port": ("{ name = 'made.up', addr = '127.0.0.1:' .. SINK }", None, "made.up", False),
}


@pytest.mark.parametrize("case", MX_LISTS)
def test_mx_list(kumod, sink, case):
    entry, site, name, uses_smtp_port = MX_LISTS[case]
    s = sink()
    k = kumod(BASE.replace("smtp_port = SINK", "smtp_port = SINK" if uses_smtp_port else "smtp_port = 1")
              .replace("local q = {", "local q = { protocol = { smtp = { mx_list = { %s } } }," % entry), sink_port=s.port)
    assert k.client().mail().startswith("250")
    r = k.wait_records("Delivery")
    assert r, k.records()
    assert r[0]["peer_address"] == {"name": name, "addr": "127.0.0.1"}
    if site:
        assert r[0]["site"] == "unspecified->%s@smtp_client" % site


def test_the_next_host(kumod, sink):
    """Two exchangers, the first breaks off during a message: reconnect_strategy and try_next_host_on_transport_error."""
    for options, records in (("try_next_host_on_transport_error = true", ["TransientFailure", "Delivery"]),
                             ("try_next_host_on_transport_error = true, reconnect_strategy = 'TerminateSession'", ["TransientFailure"]),
                             ("", ["TransientFailure"])):
        n = []
        s = sink(lambda v, l: n.append(1) or ("close" if len(n) == 1 else None) if v == "MAIL" else None)
        k = start(kumod, s, options, queue="retry_interval = '1m'", zones="$ORIGIN two.example.\n@ 60 MX 10 one\n@ 60 MX 20 two\none 60 A 127.0.0.1\ntwo 60 A 127.0.0.1\n")
        assert k.client().mail("r@two.example").startswith("250")
        k.wait_records(records[-1])
        time.sleep(0.5)
        r = [x for x in k.records() if x["type"] != "Reception"]
        assert [x["type"] for x in r] == records
        assert r[-1]["peer_address"]["name"] == ("two.two.example." if len(records) == 2 else "one.two.example.")


def test_rates_and_limits_shared_by_paths(kumod, sink):
    """additional_message_rate_throttles and additional_connection_limits hold over all paths that name them."""
    s = sink()
    k = start(kumod, s, "additional_message_rate_throttles = { ['everything'] = '2/s,max_burst=1' }, idle_timeout = '10s'")
    c = k.client()
    t = time.time()
    for i in range(3):
        for d in "ab":
            assert c.mail("r%d@%s.example" % (i, d)).startswith("250")
    assert s.wait(6) and time.time() - t > 2
    most, now, lock = [0], [0], threading.Lock()

    def count(verb, line):
        with lock:
            now[0] += verb == "CONNECT"
            now[0] -= verb == "QUIT"
            most[0] = max(most[0], now[0])
        if verb == "DOT":
            time.sleep(0.05)
    s = sink(count)
    k = start(kumod, s, "additional_connection_limits = { ['everything'] = 1 }, connection_limit = 5, idle_timeout = '100ms'")
    c = k.client()
    for i in range(4):
        for d in "ab":
            assert c.mail("r%d@%s.example" % (i, d)).startswith("250")
    assert s.wait(8, 30) and most[0] == 1


def test_max_connection_rate(kumod, sink):
    s = sink()
    k = start(kumod, s, "max_connection_rate = '2/s,max_burst=1', max_deliveries_per_connection = 1, connection_limit = 10, idle_timeout = '5s'")
    c = k.client()
    t = time.time()
    for i in range(4):
        assert c.mail("r%d@a.example" % i).startswith("250")
    assert s.wait(4) and 0.9 < time.time() - t < 6         # two at once: the first and the burst
    assert not [r for r in k.records() if r["type"] == "TransientFailure"]


def test_source_selection_rate(kumod, sink):
    """A source whose rate is used up is passed over; with no other the message waits."""
    s = sink()
    k = kumod(
        (BASE + r'''
kumo.on('get_egress_pool', function(name) return kumo.make_egress_pool { name = name, entries = { { name = 'new', weight = 10 }, { name = 'old' } } } end)
kumo.on('get_egress_source', function(name) return kumo.make_egress_source { name = name } end)
''').replace("function()\n  local p = {", "function(domain, source)\n  local p = { additional_source_selection_rates = source == 'new' and { ['new-everywhere'] = '2/hour,max_burst=2' } or nil,")
        .replace("local q = {", "local q = { egress_pool = 'p',"), sink_port=s.port)
    c = k.client()
    for i in range(8):
        assert c.mail("r%d@%s.example" % (i, "ab"[i % 2])).startswith("250")
    r = k.wait_records("Delivery", 8)
    assert sorted(x["egress_source"] for x in r) == ["new"] * 2 + ["old"] * 6


PROXIES = {"haproxy": "ha_proxy_server = '127.0.0.1:' .. PROXY, ha_proxy_source_address = '127.0.0.43'",
           "socks5": "socks5_proxy_server = '127.0.0.1:' .. PROXY, socks5_proxy_source_address = '127.0.0.43'"}


@pytest.mark.parametrize("kind", PROXIES)
def test_proxy(kumod, sink, kind):
    """A proxy that passes everything on to the sink; the record names it."""
    s, seen = sink(), []
    srv = socket.create_server(("127.0.0.1", 0))
    proxy = srv.getsockname()[1]

    def pump(a, b):
        while (d := a.recv(65536)):
            b.sendall(d)
        b.shutdown(socket.SHUT_WR)

    def serve():
        k = srv.accept()[0]
        if kind == "haproxy":
            head = k.recv(28, socket.MSG_WAITALL)
            seen.append(head)
        else:
            k.recv(3, socket.MSG_WAITALL), k.sendall(b"\5\0")
            seen.append(k.recv(10, socket.MSG_WAITALL))
            k.sendall(b"\5\0\0\1" + socket.inet_aton("127.0.0.43") + b"\x30\x39")
            seen.append(k.recv(10, socket.MSG_WAITALL))
            k.sendall(b"\5\0\0\1" + socket.inet_aton("127.0.0.1") + b"\0\0")
        out = socket.create_connection(("127.0.0.1", s.port))
        threading.Thread(target=pump, args=(out, k), daemon=True).start()
        pump(k, out)
    threading.Thread(target=serve, daemon=True).start()
    k = start(kumod, s, "", "PROXY = %d\n" % proxy, post=SOURCE % PROXIES[kind], queue="egress_pool = 'p'")
    assert k.client().mail().startswith("250")
    r = k.wait_records("Delivery")
    port = 12345 if kind == "socks5" else 0
    assert r and r[0]["source_address"] == {"address": "127.0.0.43:%d" % port, "protocol": kind, "server": "127.0.0.1:%d" % proxy}
    to = socket.inet_aton("127.0.0.1") + s.port.to_bytes(2, "big")
    if kind == "haproxy":
        assert seen == [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + socket.inet_aton("127.0.0.43") + to[:4] + b"\0\0" + to[4:]]
    else:
        assert seen == [b"\5\2\0\1" + socket.inet_aton("127.0.0.43") + b"\0\0", b"\5\1\0\1" + to]
    srv.close()
