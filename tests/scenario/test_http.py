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
