"""What a client can make the servers keep or do: memory that grows with what it says."""
import os, re, socket, threading, time
import pytest
from kumotest import BASE, Client

SLACK = 12 if "SANITIZED" not in os.environ else 400     # MB; freed memory waits in quarantine there


def rss_mb(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024


def flood(port, begin, line, n):
    """Sends LINE N times in large pieces, reads all replies meanwhile; how many lines of reply came."""
    c = Client(port, timeout=60)
    for b in begin:
        assert c.cmd(b)[0] in "23"
    c.send(line + b"QUIT\r\n")               # what a command costs once is no growth
    c = Client(port, timeout=60)
    for b in begin:
        c.cmd(b)
    got = []

    def read():
        for r in c.f:
            got.append(r[:3])
    t = threading.Thread(target=read)
    t.start()
    for _ in range(n // 1000):
        c.send(line * 1000)
    c.send(b"QUIT\r\n")
    t.join(60)
    c.close()
    return got


@pytest.mark.parametrize("line", [b"MAIL FROM:<a@b.example> SIZE=1\r\n", b"EHLO client.example\r\n"])
def test_commands_in_a_transaction_are_forgotten(kumod, line):
    """Sixty thousand commands in one transaction cost no more memory than one."""
    k = kumod(BASE)
    assert flood(k.ports["smtp"], ["MAIL FROM:<s@from.example>"], line, 1000)
    before = rss_mb(k.p.pid)
    got = flood(k.ports["smtp"], ["MAIL FROM:<s@from.example>"], line, 60000)
    assert len(got) >= 60000 and got[-1] == b"221"
    assert rss_mb(k.p.pid) - before < SLACK


def test_empty_lines_before_a_request_cost_nothing(kumod):
    k = kumod(BASE)
    assert k.http("GET", "/api/check-liveness/v1")[0] == 200
    before = rss_mb(k.p.pid)
    with socket.create_connection(("127.0.0.1", k.ports["http"]), 20) as h:
        for _ in range(500):
            h.sendall(b"\r\n" * 16384)
        h.sendall(b"\n\r\n\nGET /api/check-liveness/v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert h.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert rss_mb(k.p.pid) - before < SLACK


def test_a_recipient_list_of_many_domains(kumod):
    """Splitting by domain takes room for the recipients, not for their square."""
    k = kumod("LISTENER = { batch_handling = 'BatchByDomain', max_recipients_per_message = 20000, max_messages_per_connection = 20000 }\n" + BASE
              + "kumo.on('smtp_server_message_received', function(msg) msg:set_meta('queue', 'null') end)\n")
    c = k.client()
    before = rss_mb(k.p.pid)
    c.cmd("MAIL FROM:<s@from.example>")
    n = 6000
    for i in range(n):
        c.send("RCPT TO:<r@d%d.a.example>\r\n" % i)
    assert all(c.reply().startswith("250") for _ in range(n))
    assert c.cmd("DATA").startswith("354")
    c.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
    assert c.reply().startswith("250 OK ids=")
    assert rss_mb(k.p.pid) - before < 100 + SLACK


def test_texts_that_take_long_hold_up_nobody(kumod):
    """Recipients whose text runs into its limits, after the work of seconds: others are served in between."""
    k, n = kumod(BASE), 40
    body = {"envelope_sender": "s@from.example", "content": "Subject: x\r\n\r\n{% for i in range(99999) %}{% for j in range(99) %}{% endfor %}{% endfor %}",
            "recipients": [{"email": "r%d@a.example" % i} for i in range(n)]}
    done = []
    t = threading.Thread(target=lambda: done.append(k.http("POST", "/api/inject/v1", body, 120)))
    t.start()
    start, longest = time.monotonic(), 0
    while t.is_alive():
        begin = time.monotonic()
        c = k.client()
        assert c.cmd("NOOP").startswith("250")
        c.close()
        longest = max(longest, time.monotonic() - begin)
    assert done[0][0] == 200 and '"fail_count":%d' % n in done[0][1]
    assert longest < (time.monotonic() - start) / 2
