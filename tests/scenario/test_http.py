"""HTTP endpoints beyond what the recorded cases show."""
import http.client, json, re
import pytest
from kumotest import BASE, wait_for


def test_task_dump(kumod, sink):
    """A line for each fiber: what it is, what it waits for, since when and for how long at most."""
    s = sink(lambda verb, line: "hang" if verb == "DOT" else None)
    k = kumod(BASE + "kumo.on('smtp_server_ehlo', function(domain) if domain == 'slow' then kumo.sleep(5) end end)\n", sink_port=s.port)
    idle, slow = k.client(), k.client()
    idle.cmd("EHLO source.example")
    assert idle.mail().startswith("250")
    slow.send("EHLO slow\r\n")
    peer = "127.0.0.1:%d" % idle.s.getsockname()[1]
    want = [r"smtp session +waiting for input \(peer %s\), since \d+\.\d{3} s, for at most \d+\.\d{3} s more" % re.escape(peer),
            r"smtp session +waiting for time to pass, since [01]\.\d{3} s, for at most [345]\.\d{3} s more",
            r"dispatcher +waiting for input \(peer 127\.0\.0\.1:%d\), since " % s.port,
            r"http_listener +waiting for a connection to accept, since ",
            r"offload threads: \d+, \d+ idle, \d+ jobs"]
    text = ""

    def seen():
        nonlocal text
        status, text = k.http("GET", "/api/admin/task-dump")
        return status == 200 and all(re.search(w, text) for w in want)
    assert wait_for(seen, 3), text
    shards = re.findall(r"^shard \d+: (\d+) fibers", text, re.M)
    assert sum(map(int, shards)) == sum(line.startswith("  ") for line in text.splitlines())
    idle.close()
    slow.close()


def test_rapidoc_brings_nothing_from_elsewhere(kumod):
    k = kumod(BASE)
    c = http.client.HTTPConnection("127.0.0.1", k.ports["http"], timeout=30)
    c.request("GET", "/rapidoc")
    r = c.getresponse()
    page = r.read().decode()
    assert r.status == 200 and r.getheader("content-type") == "text/html; charset=utf-8"
    assert "default-src 'none'" in r.getheader("content-security-policy") and "connect-src 'self'" in r.getheader("content-security-policy")
    assert re.findall(r"""(?:src|href|action)=["']([^"']*)""", page) == ["/api-docs/openapi.json"]
    assert "://" not in page and "@import" not in page
    assert 'fetch("/api-docs/openapi.json")' in page
    doc = json.loads(k.http("GET", "/api-docs/openapi.json")[1])
    assert {"get"} == set(doc["paths"]["/api/admin/task-dump"]) and "/rapidoc" not in doc["paths"]


INJECT = {"envelope_sender": "s@from.example", "recipients": [{"email": "r@a.example"}], "content": "Subject: x\n\nbody\n"}


@pytest.mark.parametrize("how, alive, inject, smtp", [
    ("", (200, "OK"), 200, "220"),
    ("LOW = true", (503, "load shedding"), 503, "421"),
    ("SPOOL = { min_free_space = '100%' }", (503, "storage is too full"), 503, "421"),
])
def test_liveness_says_whether_mail_is_taken(kumod, how, alive, inject, smtp):
    """The listeners and the check of liveness agree."""
    init = "kumo.on('init', function()\n"
    k = kumod(how + "\n" + BASE.replace(init, init + "  if LOW then kumo.set_memory_soft_limit(1) end\n", 1))
    assert wait_for(lambda: k.http("GET", "/api/check-liveness/v1") == alive, 8), k.http("GET", "/api/check-liveness/v1")
    assert k.http("POST", "/api/inject/v1", INJECT)[0] == inject
    c = k.client()
    assert c.greeting.startswith(smtp)
    c.close()


@pytest.mark.parametrize("path", ["inspect-sched-q/v1?queue_name=a.example&queue_name=b.example", "inspect-ready-q/v1?queue_name=a&queue_name=a",
                                  "resolve-egress-path/v1?domain=a.example&domain=b.example", "/metrics?prefix=a&prefix=b"])
def test_a_parameter_given_twice(kumod, path):
    """Which of two was meant cannot be known."""
    status, text = kumod(BASE).http("GET", path if path[0] == "/" else "/api/admin/" + path)
    assert (status, text) == (400, "Failed to deserialize query string: duplicate field `%s`" % re.search(r"[?](\w+)", path)[1])


def test_administration(kumod, sink):
    """Each admin endpoint once, with what it changes seen by another."""
    s = sink(lambda verb, line: "451 4.7.1 later" if verb == "RCPT" else None)
    k = kumod("QUEUE = { retry_interval = '10m' }\n" + BASE, sink_port=s.port)
    admin = lambda method, path, body=None: k.http(method, "/api/admin/" + path, body)
    get = lambda path: json.loads(admin("GET", path)[1])
    for domain in ("a.example", "b.example"):
        assert k.http("POST", "/api/inject/v1", dict(INJECT, recipients=[{"email": "r@" + domain}]))[0] == 200
    waiting = lambda q: get("inspect-sched-q/v1?queue_name=" + q)
    assert wait_for(lambda: all(admin("GET", "inspect-sched-q/v1?queue_name=" + q)[0] == 200 and waiting(q)["num_scheduled"] for q in ("a.example", "b.example")))
    q = waiting("a.example")
    id = q["messages"][0]["id"]
    assert (q["messages"][0]["message"]["recipient"], q["messages"][0]["message"]["data"], q["queue_config"]["retry_interval"]) == ("r@a.example", None, "10m")
    assert "body" in get("inspect-message/v1?want_body=true&id=" + id)["message"]["data"]
    assert waiting("a.example&limit=0")["messages"] == []

    ready = "unspecified->mx.a.example@smtp_client"
    shown = get("resolve-egress-path/v1?domain=a.example")
    assert (shown["queue_name"], shown["source"], shown["mx"]["site_name"], shown["queue_config"]["retry_interval"]) == (ready, "unspecified", "mx.a.example", "10m")
    assert get("inspect-ready-q/v1?queue_name=" + ready.replace(">", "%3E"))["egress_source"] == "unspecified"

    assert get("ready-q-states/v1") == {"states_by_ready_queue": {}}     # nothing holds it back

    for kind, which, body in (("suspend", "domain", {"domain": "a.example"}), ("suspend-ready-q", "name", {"name": ready})):
        entry = json.loads(admin("POST", kind + "/v1", dict(body, reason="test", duration="1h"))[1])["id"]
        assert [(e["id"], e[which], e["reason"], e["duration"][:3] in ("1h", "59m")) for e in get(kind + "/v1")] == [(entry, body[which], "test", True)]
        assert admin("DELETE", kind + "/v1", {"id": entry}) == (200, "removed " + entry)
        assert admin("DELETE", kind + "/v1", {"id": entry})[0] == 404 and get(kind + "/v1") == []

    assert admin("POST", "rebind/v1", {"reason": "test", "domain": "a.example", "data": {"queue": "held@c.example"}})[0] == 200
    assert wait_for(lambda: waiting("a.example")["num_scheduled"] == 0, 10)
    entry = json.loads(admin("POST", "bounce/v1", {"reason": "test", "queue_names": ["b.example"], "domain": "elsewhere.example"})[1])["id"]
    assert wait_for(lambda: [(e["id"], e["bounced"], e["total_bounced"]) for e in get("bounce/v1")] == [(entry, {"b.example": 1}, 1)], 10)
    assert len(k.wait_records("AdminBounce")) == 1
    assert admin("DELETE", "bounce/v1", {"id": entry})[0] == 200

    assert admin("POST", "abort-ready-q-conn/v1", {"queue_name": ready, "session_id": entry})[0] == 404
    assert [admin("POST", "spool-compact/v1", {"name": n})[0] for n in ("data", "meta", "none")] == [200, 200, 500]
    assert [admin("POST", "set_diagnostic_log_filter/v1", {"filter": f})[0] for f in ("kumod=debug,info", "===")] == [200, 500]
    assert admin("POST", "bump-config-epoch") == (200, "")
    assert re.search(r"usage: \d+ bytes\n", admin("GET", "memory/stats")[1])
    info = json.loads(k.http("GET", "/api/machine-info")[1])
    assert info["process_kind"] == "kumod" and info["num_cores"] >= 1 and info["online_since"].endswith("Z")
