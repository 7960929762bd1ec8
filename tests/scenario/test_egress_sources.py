"""Sources and pools: shares, proxies, and sources that are put aside because they fail."""
import socket, threading
import pytest
from egress import POOL, SOURCES, run, send
from kumotest import BASE, wait_for


def test_pool_weights(kumod, sink):
    """Weights share, 0 is never used."""
    s = sink()
    k = run(kumod, s.port, POOL + "POOL_ENTRIES = function() return { { name = 's1', weight = 3 }, { name = 's2' }, { name = 's3', weight = 0 } } end", BASE + SOURCES)
    send(k, 40)
    assert s.wait(40)
    used = [r["egress_source"] for r in k.wait_records("Delivery", 40)]
    assert (used.count("s1"), used.count("s2"), used.count("s3")) == (30, 10, 0)


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
    k = run(kumod, s.port, POOL + "PROXY = %d; SOURCE = function() return { %s } end" % (proxy, PROXIES[kind]), BASE + SOURCES)
    send(k)
    r = k.wait_records("Delivery")
    port = 12345 if kind == "socks5" else 0
    assert r and r[0]["source_address"] == {"address": "127.0.0.43:%d" % port, "protocol": kind, "server": "127.0.0.1:%d" % proxy}
    to = socket.inet_aton("127.0.0.1") + s.port.to_bytes(2, "big")
    if kind == "haproxy":
        assert seen == [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + socket.inet_aton("127.0.0.43") + to[:4] + b"\0\0" + to[4:]]
    else:
        assert seen == [b"\5\2\0\1" + socket.inet_aton("127.0.0.43") + b"\0\0", b"\5\1\0\1" + to]
    srv.close()


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
