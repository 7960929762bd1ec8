"""Which hosts are tried, and which next when one fails."""
import pytest
from egress import TWO_HOSTS, run, send, transient
from kumotest import BASE, wait_for


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
    k = run(kumod, a.port, "PATH = { prohibited_hosts = { '127.0.0.2', '::1' } }", TWO_HOSTS)
    send(k)
    r = k.wait_records("Bounce")[0]["response"]
    assert r["code"] == 550 and r["content"].startswith("mx2.a.example./127.0.0.2 is on the list of prohibited_hosts") and not a.commands and not b.commands


@pytest.mark.parametrize("strategy, ok", [("Ipv4Only", True), ("Ipv6Only", False), ("Ipv6ThenIpv4", True), ("Ipv4ThenIpv6", True), ("Ipv4AndIpv6", True)])
def test_ip_lookup_strategy(kumod, sink, strategy, ok):
    s = sink()
    k = run(kumod, s.port, "PATH = { ip_lookup_strategy = '%s' }" % strategy)
    send(k)
    assert s.wait(1) if ok else "MX didn't resolve to any hosts" in transient(k)


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
    k = run(kumod, s.port, "", BASE.replace("smtp_port = SINK", "smtp_port = %s" % ("SINK" if uses_smtp_port else "1")).replace("local q = {", "local q = { protocol = { smtp = { mx_list = { %s } } }," % entry))
    send(k)
    r = k.wait_records("Delivery")
    assert r, k.records()
    assert r[0]["peer_address"] == {"name": name, "addr": "127.0.0.1"}
    if site:
        assert r[0]["site"] == "unspecified->%s@smtp_client" % site


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


@pytest.mark.parametrize("options, records", [("", ["TransientFailure"]), ("try_next_host_on_transport_error = true", ["TransientFailure", "Delivery"]),
                                              ("try_next_host_on_transport_error = true, reconnect_strategy = 'TerminateSession'", ["TransientFailure"])])
def test_try_next_host_on_transport_error(kumod, two, options, records):
    a, b = two(lambda verb, line: "close" if verb == "DATA" else None)
    k = run(kumod, a.port, "PATH = { connection_limit = 1, %s }; QUEUE = { retry_interval = '10m' }" % options, TWO_HOSTS)
    send(k)
    assert k.wait_records(records[-1])
    assert not wait_for(lambda: len(k.records()) > 1 + len(records), 0.5), [(r["type"], r["response"]["content"]) for r in k.records()]
    assert [(r["type"], r["peer_address"]["name"]) for r in k.records()[1:]] == list(zip(records, ("mx1.a.example.", "mx2.a.example.")))


def test_consecutive_connection_failures(kumod, sink):
    """Past so many failures the whole ready queue is put off at once."""
    s = sink(lambda verb, line: "554 no" if verb == "CONNECT" else None)
    k = run(kumod, s.port, "PATH = { connection_limit = 1, consecutive_connection_failures_before_delay = 1 }; QUEUE = { retry_interval = '1h' }")
    send(k, 12)
    got = transient(k, 12)
    bulk = [t for t in got if "too many successive connection failures" in t]
    assert len(got) == 12 and len(bulk) >= 6, got
