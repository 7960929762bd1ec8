"""What is said to the next server: commands and names that options decide, and how long each answer may take."""
import socket, threading, time
import pytest
from egress import POOL, SOURCES, run, send, verbs
from kumotest import BASE, wait_for


def one_connection(kumod, sink, path, n=3, policy=BASE, **kw):
    s = sink(**kw)
    k = run(kumod, s.port, "PATH = { connection_limit = 1, idle_timeout = '5s', %s }" % path, policy)
    send(k, n)
    assert s.wait(n), k.stderr()
    return k, s


def test_enable_rset(kumod, sink):
    assert verbs(one_connection(kumod, sink, "enable_rset = true")[1]).count("RSET") == 2
    assert verbs(one_connection(kumod, sink, "enable_rset = false")[1]).count("RSET") == 0


def lmtp_server(final):
    """Serves one connection and says FINAL after the dot: the socket, and the lines that came."""
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
                k.sendall(final)
            else:
                k.sendall(b"221 bye\r\n" if line == "QUIT" else b"250 ok\r\n")
    threading.Thread(target=serve, daemon=True).start()
    return srv, seen


def test_lmtp_answers_for_each_recipient(kumod):
    """RFC 2033: LHLO, and after the dot a reply for each recipient that was accepted."""
    srv, seen = lmtp_server(b"250 2.0.0 first\r\n452 4.2.2 full\r\n550 5.1.1 gone\r\n")
    k = run(kumod, srv.getsockname()[1], "PATH = { use_lmtp = true }; LISTENER = { batch_handling = 'BatchByDomain' }; QUEUE = { retry_interval = '1m' }")
    assert k.client().mail(["r1@a.example", "r2@a.example", "r3@a.example"]).startswith("250")
    assert k.wait_records("Bounce") and k.wait_records("TransientFailure")
    assert {r["type"]: (r["recipient"], r["response"]["code"]) for r in k.records()[1:]} == {
        "Delivery": ("r1@a.example", 250), "TransientFailure": ("r2@a.example", 452), "Bounce": ("r3@a.example", 550)}
    assert seen[0].startswith("LHLO ")
    srv.close()


def test_lmtp_answers_that_came_stand(kumod):
    """When the connection breaks between two of them, the first recipient has the message: only the second is tried again."""
    srv, seen = lmtp_server(b"250 2.0.0 first\r\nnonsense\r\n")
    k = run(kumod, srv.getsockname()[1], "PATH = { use_lmtp = true }; LISTENER = { batch_handling = 'BatchByDomain' }; QUEUE = { retry_interval = '1m' }")
    assert k.client().mail(["r1@a.example", "r2@a.example"]).startswith("250")
    assert k.wait_records("TransientFailure")
    assert {r["type"]: (r["recipient"], r["response"]["code"]) for r in k.records()[1:]} == {"Delivery": ("r1@a.example", 250), "TransientFailure": ("r2@a.example", 421)}
    srv.close()


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
    r = k.wait_records("Delivery", 3)
    assert [x["recipient"] for x in r] == [["r0@a.example", "r1@a.example"], ["r2@a.example", "r3@a.example"], "r4@a.example"]
    assert verbs(s).count("MAIL") == 3 and verbs(s).count("EHLO") == 1 and not k.wait_records("TransientFailure", 1, 0.3)


def test_idle_timeout(kumod, sink):
    s = sink()
    k = run(kumod, s.port, "PATH = { idle_timeout = '1s' }")
    send(k)
    assert s.wait(1)
    begin = time.time()
    assert wait_for(lambda: verbs(s)[-1] == "QUIT", 10)
    assert 0.5 < time.time() - begin < 3


def test_names_in_ehlo_and_ports(kumod, sink):
    """ehlo_domain: the path's before the source's; remote_port of the source before smtp_port."""
    for path, want in (("", "EHLO s1.example"), ("ehlo_domain = 'path.example'", "EHLO path.example")):
        s = sink()
        k = run(kumod, 1, POOL + "POOL_ENTRIES = function() return { { name = 's1' } } end; SOURCE = function() return { remote_port = %d, source_address = '127.0.0.41' } end; PATH = { %s }" % (s.port, path), BASE + SOURCES)
        send(k)
        r = k.wait_records("Delivery")
        assert r and s.commands[0] == want
        assert r[0]["source_address"]["address"].startswith("127.0.0.41:") and (r[0]["egress_pool"], r[0]["egress_source"]) == ("p", "s1")


# path, replies, a part of the TransientFailure's text
REFUSED = {
    "tls that is not there": ("enable_tls = 'RequiredInsecure'", {}, "tls policy is RequiredInsecure but STARTTLS is not advertised by mx.a.example"),
    "no auth in clear": ("smtp_auth_plain_username = 'u', smtp_auth_plain_password = { key_data = 'p' }", {}, "TLS is not enabled and AUTH PLAIN is required"),
    "a password that cannot be read": ("smtp_auth_plain_username = 'u', smtp_auth_plain_password = '/no/such', allow_smtp_auth_plain_without_tls = true", {}, "smtp_auth_plain_password"),
    "starttls_timeout": ("enable_tls = 'RequiredInsecure', starttls_timeout = '300ms'", {"EHLO": "250-sink\n250 STARTTLS", "STARTTLS": "hang"}, "Timed Out"),
    "banner_timeout": ("banner_timeout = '300ms'", {"CONNECT": "hang"}, "Timed Out"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_no_session(kumod, sink, case):
    path, replies, text = REFUSED[case]
    s = sink(lambda verb, line: replies.get(verb))
    k = run(kumod, s.port, "PATH = { %s }" % path)
    send(k)
    r = k.wait_records("TransientFailure")
    assert r and r[0]["response"]["code"] == 400 and text in r[0]["response"]["content"], r


def test_rset_timeout(kumod, sink):
    s = sink(lambda v, l: "hang" if v == "RSET" else None)
    k = run(kumod, s.port, "PATH = { connection_limit = 1, rset_timeout = '300ms' }")
    send(k)
    assert s.wait(1)
    send(k)
    r = k.wait_records("TransientFailure")
    assert r and r[0]["response"]["code"] == 421 and "Timed Out waiting 0.3s for response to cmd=RSET" in r[0]["response"]["content"]
