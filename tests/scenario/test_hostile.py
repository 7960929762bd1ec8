"""Clients that mean no good: smuggling, endless lines and messages, octets that are no text, more connections than there are files."""
import os, random, re, resource, socket, time
import pytest
from kumotest import BASE, Client, wait_for

# the sequences of hannob/smtpsmug, The-Login/SMTP-Smuggling-Tools and suuhm/smtp_smuggling_checker
SMUGGLING = [b"\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n\0.\r", b"\r\n\0.\n", b"\n\n.\r\n"]
INNER = b"MAIL FROM:<smuggled@from.example>\r\nRCPT TO:<smuggled@a.example>\r\nDATA\r\nSubject: smuggled\r\n\r\ninner\r\n.\r\n"


def rss_mb(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024


def begin(k, **kw):
    c = Client(k.ports["smtp"], **kw)
    for line in ("EHLO client.example", "MAIL FROM:<s@from.example>", "RCPT TO:<r@a.example>", "DATA"):
        assert c.cmd(line)[0] in "23"
    return c


@pytest.mark.parametrize("split", [False, True], ids=["whole", "octet by octet"])
@pytest.mark.parametrize("mode", ["Deny", "Fix", "Allow"])
def test_smuggling_inwards(kumod, sink, mode, split):
    """One message or none comes out of each, never a second one, and no next hop can be told two."""
    s = sink()
    k = kumod("LISTENER = { invalid_line_endings = '%s' }\n" % mode + BASE, sink_port=s.port)
    taken = 0
    for seq in SMUGGLING:
        c = begin(k)
        data = b"Subject: outer\r\n\r\ntext" + seq + INNER
        for part in [data[i:i + 1] for i in range(len(data))] if split else [data]:
            c.send(part)
        c.send(b"QUIT\r\n")
        replies = [c.reply()]
        while replies[-1] and not replies[-1].startswith("221"):
            replies.append(c.reply())
        replies = [r for r in replies if r]
        assert len([r for r in replies if r[:3] in ("250", "354")]) <= 1, (seq, replies)
        assert replies[0][:3] in ("250", "552", "451", "500", "550"), (seq, replies)
        taken += replies[0].startswith("250")
        c.close()
    assert s.wait(taken)
    assert k.stop() == 0
    assert len(s.messages) == taken
    assert not [r for r in s.rcpts if "smuggled" in r]
    assert not [c for c in s.commands if "smuggled" in c]
    for m in s.messages:
        assert re.search(rb"(?<!\r)\n|\r(?!\n)", m) is None or mode == "Allow", m
        assert re.search(rb"\r\n\.(?!\.)", m) is None or mode == "Allow", m


def test_dots_come_out_as_they_went_in(kumod, sink):
    s = sink()
    k = kumod(BASE, sink_port=s.port)
    body = b"Subject: x\r\n\r\n..\r\n...\r\n..x\r\n\r\n..\r\n"
    assert k.client().mail(body=body).startswith("250")
    assert s.wait(1)
    assert s.messages[0].endswith(body)


def test_an_endless_message_is_refused_in_little_memory(kumod, sink):
    s = sink()
    k = kumod(BASE, sink_port=s.port)
    assert k.client().mail().startswith("250")
    before = rss_mb(k.p.pid)
    c = begin(k, timeout=120)
    c.send(b"Subject: big\r\n\r\n")
    chunk = (b"x" * 70 + b"\r\n") * 16384     # 1.2 MB
    sent, reply = 0, None
    try:
        while sent < 1 << 30:
            c.send(chunk)
            sent += len(chunk)
        c.send(b".\r\n")
        reply = c.reply()
    except OSError:                           # a server may also close
        pass
    assert reply is None or reply.startswith("552 5.3.4"), reply
    assert rss_mb(k.p.pid) - before < (64 if "SANITIZED" not in os.environ else 512)
    assert k.client().mail().startswith("250")
    assert s.wait(2)
    assert k.stop() == 0
    assert len(s.messages) == 2


@pytest.mark.parametrize("start", [b"EHLO ", b"MAIL FROM:<", b"", b"RCPT TO:<a@"])
def test_an_endless_command(kumod, start):
    k = kumod(BASE)
    assert k.client().cmd("NOOP").startswith("250")
    before = rss_mb(k.p.pid)
    c = k.client()
    with_reply = b""
    try:
        c.send(start)
        for _ in range(160):
            c.send(b"x" * 65536)
        c.send(b"\r\nQUIT\r\n")
    except OSError:
        pass
    try:
        with_reply = c.reply()
    except OSError:
        pass
    assert not with_reply or with_reply[0] == "5", with_reply
    assert rss_mb(k.p.pid) - before < (24 if "SANITIZED" not in os.environ else 512)
    assert k.client().cmd("EHLO client.example").startswith("250")


def test_a_header_without_end(kumod, sink):
    """A megabyte of fields, a field of a megabyte in folded lines, and a thousand Received fields."""
    s = sink()
    k = kumod(BASE, sink_port=s.port)
    for head in (b"X-%d: y\r\n" % 1 * 100000, b"X: y\r\n" + b" folded and folded\r\n" * 60000, b"Received: from a by b; x\r\n" * 1000, b"", b"\r\n", b": \r\n", b"no colon at all\r\n", b"X:\r\n\t\r\n \r\n"):
        r = k.client().mail(body=head + b"\r\nbody\r\n")
        assert r[:3] in ("250", "552", "554", "550", "451"), (head[:40], r)
    assert k.client().mail().startswith("250")
    assert k.stop() == 0


BYTES = [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\x80", b"\0", b"\x1b[31m", b"\x7f", "\u202e".encode(), "\u0130\u00df".encode(), b"%s%n", b"'\"; --", b"\\u0000"]


def test_octets_that_are_no_text_everywhere(kumod, sink):
    s = sink()
    k = kumod(BASE, sink_port=s.port)
    for b in BYTES:
        c = k.client()
        for line in (b"EHLO " + b, b"HELO a" + b, b"MAIL FROM:<" + b + b"@x.example>", b"MAIL FROM:<s@" + b + b".example>", b"MAIL FROM:<s@x.example> SMTPUTF8 X=" + b, b"NOOP " + b, b + b" x", b"VRFY " + b, b"AUTH PLAIN " + b,
                     b"RSET" + b, b"MAIL FROM:<s@from.example>", b"RCPT TO:<" + b + b"@a.example>", b"RCPT TO:<r@" + b + b">", b"RCPT TO:<\"" + b + b"\"@a.example>", b"RCPT TO:<r@a.example>"):
            r = c.cmd(line + b"\r\n")
            assert re.match(r"[245]\d\d[ -]", r), (line, r)
            if r.startswith("421"):
                c = k.client()
        assert c.mail(body=b"Subject: " + b + b"\r\n" + b + b": x\r\nFrom: " + b + b" <" + b + b">\r\n\r\n" + b + b"\r\n")[0] in "245"
    for path in ("/api/inject/v1", "/api/admin/bounce/v1", "/api/admin/set_diagnostic_log_filter/v1"):
        for b in BYTES:
            with socket.create_connection(("127.0.0.1", k.ports["http"]), 20) as h:
                body = b'{"a": "' + b + b'"}'
                h.sendall(b"POST " + path.encode() + b"?x=" + b + b" HTTP/1.1\r\nHost: " + b + b"\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                assert re.match(rb"HTTP/1\.[01] 4\d\d ", h.recv(4096))
    assert k.client().mail().startswith("250")
    assert k.stop() == 0
    for r in k.records():                     # every line was JSON and UTF-8, or would be missing here
        assert r["type"]
    assert "Sanitizer" not in k.stderr()


def test_noise(kumod):
    """Random octets and random sequences of commands; the daemon is well afterwards."""
    k = kumod(BASE)
    rng = random.Random(7)
    words = [b"EHLO a\r\n", b"MAIL FROM:<>\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<r@a.example>\r\n", b"DATA\r\n", b".\r\n", b"\r\n.\r\n", b"RSET\r\n", b"QUIT\r\n", b"STARTTLS\r\n", b"AUTH PLAIN\r\n", b"*\r\n", b"\0", b"\n", b"\r", b"BDAT 5 LAST\r\nhello", b"XCLIENT NAME=x\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\n\r\n"]
    for i in range(200):
        with socket.create_connection(("127.0.0.1", k.ports["smtp" if i % 4 else "http"]), 20) as c:
            data = b"".join(rng.choice(words) if rng.random() < 0.8 else rng.randbytes(rng.randrange(1, 200)) for _ in range(rng.randrange(1, 30)))
            try:
                c.sendall(data)
                if rng.random() < 0.5:
                    c.shutdown(socket.SHUT_WR)
                    while c.recv(65536):
                        pass
            except OSError:
                pass
    assert k.client().cmd("EHLO client.example").startswith("250")
    assert k.http("GET", "/api/check-liveness/v1")[0] == 200
    assert k.stop(timeout=40) == 0


def test_no_more_files(kumod, sink):
    """With 100 files to its name kumod answers whom it can, and all again when the crowd has gone."""
    s = sink()
    k = kumod("LISTENER = { max_connections = 10000 }\n" + BASE, sink_port=s.port, wait=True)
    used = len(os.listdir("/proc/%d/fd" % k.p.pid))
    resource.prlimit(k.p.pid, resource.RLIMIT_NOFILE, (used + 20, used + 20))
    crowd = []
    for _ in range(60):
        c = socket.create_connection(("127.0.0.1", k.ports["smtp"]), 20)
        crowd.append(c)
    served = crowd[0].makefile("rb")
    assert served.readline().startswith(b"220")
    ticks = lambda: sum(int(x) for x in open("/proc/%d/stat" % k.p.pid).read().rsplit(")", 1)[1].split()[11:13])
    before = ticks()
    time.sleep(1)                             # what is measured is idleness
    assert ticks() - before < 50, "busy while it has no files"
    crowd[0].sendall(b"NOOP\r\n")
    assert served.readline().startswith(b"250")
    served.close()
    for c in crowd:
        c.close()
    assert wait_for(lambda: k.client().mail().startswith("250"), 20, 0.2)
    assert s.wait(1)
    assert k.stop() == 0
    assert re.search("(?i)too many open files|RLIMIT_NOFILE|LimitNOFILE", k.stderr()), k.stderr()
