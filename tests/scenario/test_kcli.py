"""kcli against a daemon with mail waiting: what each subcommand prints and does, its exit status; help; mistakes; top on a terminal."""
import fcntl, http.server, json, os, pty, re, select, struct, subprocess, termios, threading, time
import pytest
from kumotest import BASE, BIN, wait_for

KCLI = os.path.join(BIN, "kcli")
POLICY = "QUEUE = { retry_interval = '5m' }\n" + BASE + r'''
kumo.on('smtp_server_message_received', function(msg)
  local tenant, campaign, routing = msg:recipient().user:match '^(%w*)-(%w*)-(%w*)$'
  if tenant and tenant ~= '' then msg:set_meta('tenant', tenant) end
  if campaign and campaign ~= '' then msg:set_meta('campaign', campaign) end
  if routing and routing ~= '' then msg:set_meta('routing_domain', routing .. '.example') end
end)
kumo.on('rebind_message', function(msg, data)
  msg:set_meta('queue', data.queue)
  msg:set_meta('seen', kumo.serde.json_encode(data))
end)
'''
READY = "unspecified->mx.b.example@smtp_client"


def run(*args, env=None, endpoint=None):
    e = {k: v for k, v in os.environ.items() if k != "KUMO_KCLI_ENDPOINT"}
    return subprocess.run([KCLI, *(["--endpoint", endpoint] if endpoint else []), *args], env=dict(e, **(env or {})), capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)


class Remote:
    """A daemon, reached through the environment; ok() is the output of what must succeed."""
    def __init__(self, k):
        self.k, self.env = k, {"KUMO_KCLI_ENDPOINT": "http://127.0.0.1:%d" % k.ports["http"]}

    def run(self, *args):
        return run(*args, env=self.env)

    def ok(self, *args):
        r = self.run(*args)
        assert r.returncode == 0, (args, r.stderr)
        return r.stdout

    def rows(self, *args):
        """The tables, as lists of words without blanks, one list for each table."""
        return [[l.split() for l in t.splitlines()[1:]] for t in self.ok(*args).split("\n\n")]

    def scheduled(self):
        return {w[0]: int(w[1]) for w in self.rows("queue-summary")[1] if w[1] != "0"}


MAIL = ["r@a.example", "r@b.example", "r@b.example", "acme--@b.example", "acme-spring-@b.example", "--a@b.example"]
WAITING = {"b.example": 2, "acme@b.example": 1, "spring:acme@b.example": 1, "b.example!a.example": 1}


@pytest.fixture
def remote(kumod, sink):
    """One message is delivered, five wait in four queues; two of these go to another site than their domain's."""
    s = sink(lambda v, l: "451 4.7.1 later" if v == "RCPT" and "b.example" in l else None)
    k = kumod(POLICY, sink_port=s.port)
    c = k.client()
    ids = [c.mail(m).split("ids=")[1] for m in MAIL]
    c.close()
    assert k.wait_records("TransientFailure", 5) and k.wait_records("Delivery")
    r = Remote(k)
    r.ids, r.sink = ids, s
    assert wait_for(lambda: r.scheduled() == WAITING), r.scheduled()
    return r


def test_queue_summary(remote):
    ready, scheduled = remote.rows("queue-summary")
    assert ready == [["mx.a.example", "unspecified", "smtp_client", "1", "1", *ready[0][5:]], ["mx.b.example", "unspecified", "smtp_client", "0", "4", *ready[1][5:]]]
    assert [w[0] for w in scheduled] == sorted(WAITING, key=lambda q: (q != "acme@b.example", q))
    assert remote.rows("queue-summary", "--by-volume")[1][0] == ["b.example", "2"]
    assert [[w[0] for w in t] for t in remote.rows("queue-summary", "--by-volume", "--limit", "1")] == [["mx.b.example"], ["b.example"]]
    # those of a domain, and those that share its site
    assert [[w[0] for w in t] for t in remote.rows("queue-summary", "--domain", "a.example")] == [["mx.a.example"], ["b.example!a.example"]]
    assert len(remote.rows("queue-summary", "--domain", "b.example")[1]) == 4
    assert remote.rows("queue-summary", "--domain", "c.example") == [[], []]


@pytest.mark.parametrize("args, marked", [
    (["--domain", "b.example"], set(WAITING)), (["--tenant", "acme"], {"acme@b.example", "spring:acme@b.example"}), (["--campaign", "spring"], {"spring:acme@b.example"}),
    (["--everything"], set(WAITING)), (["--domain", "a.example"], set()),
])
def test_suspensions_are_shown_where_they_apply(remote, args, marked):
    i = json.loads(remote.ok("suspend", *args, "--reason", "not now", "--duration", "1h"))["id"]
    assert {w[0] for w in remote.rows("queue-summary")[1] if w[2:] == ["🛑suspend:", "not", "now"]} == marked
    (e,) = json.loads(remote.ok("suspend-list"))
    assert e["id"] == i and e["reason"] == "not now" and e["duration"].startswith("59m")
    assert remote.ok("suspend-cancel", "--id", i) == "removed %s\n" % i
    assert json.loads(remote.ok("suspend-list")) == []
    r = remote.run("suspend-cancel", "--id", i)
    assert (r.returncode, r.stdout) == (1, "") and "404" in r.stderr and "not found" in r.stderr


def test_suspended_ready_queue(remote):
    i = json.loads(remote.ok("suspend-ready-q", "--name", READY, "--reason", "blocked there"))["id"]
    assert [w[0] for w in remote.rows("queue-summary")[0] if "🛑suspend:" in w] == ["mx.b.example"]
    (e,) = json.loads(remote.ok("suspend-ready-q-list"))
    assert (e["id"], e["name"], e["reason"]) == (i, READY, "blocked there") and e["duration"].startswith("4m 59s")
    assert remote.ok("suspend-ready-q-cancel", "--id", i) == "removed %s\n" % i
    assert json.loads(remote.ok("suspend-ready-q-list")) == []


BOUNCES = [
    (["--queue", "b.example", "--queue", "acme@b.example"], {"b.example", "acme@b.example"}), (["--routing-domain", "a.example"], {"b.example!a.example"}),
    (["--tenant", "acme", "--campaign", "spring"], {"spring:acme@b.example"}), (["--everything"], set(WAITING)),
]


@pytest.mark.parametrize("args, gone", BOUNCES)
def test_bounce(remote, args, gone):
    r = remote.run("bounce", *args, "--reason", "a mistake")
    assert r.returncode == 0 and re.fullmatch(r"[0-9a-f-]{36}\n", r.stdout) and r.stderr.startswith("NOTE: the bounce is running async")
    assert wait_for(lambda: remote.scheduled() == {q: n for q, n in WAITING.items() if q not in gone}), remote.scheduled()
    n = sum(WAITING[q] for q in gone)
    assert {x["queue"] for x in remote.k.wait_records("AdminBounce", n) if x["type"] == "AdminBounce"} == gone
    (words,) = remote.rows("bounce-list")[0]
    criteria = {"--routing-domain": ["routing_domain=a.example"], "--tenant": ["campaign=spring,", "tenant=acme"]}.get(args[0], ["everything"])
    assert words[0] == r.stdout.strip() and words[1:3] == ["a", "mistake"] and words[-len(criteria) - 1:] == [str(n)] + criteria
    (e,) = json.loads(remote.ok("bounce-list", "--json"))
    assert e["id"] == r.stdout.strip() and e["total_bounced"] == n and e["bounced"] == {q: WAITING[q] for q in gone}
    assert remote.ok("bounce-cancel", "--id", e["id"]) == "removed %s\n" % e["id"]
    assert remote.rows("bounce-list") == [[]]


def test_a_bounce_is_shown_where_it_applies(remote):
    remote.ok("bounce", "--routing-domain", "z.example", "--reason", "gone")
    assert not [w for w in remote.rows("queue-summary")[1] if "bounce:" in w]


def test_rebind(remote):
    note = "NOTE: Rebind always runs asynchronously\n"
    r = remote.run("rebind", "--tenant", "acme", "--reason", "move", "--set", "queue=c.example", "--suppress-logging")
    assert (r.returncode, r.stdout, r.stderr) == (0, "", note)
    assert wait_for(lambda: remote.scheduled() == {"b.example": 2, "b.example!a.example": 1, "c.example": 2}), remote.scheduled()
    r = remote.run("rebind", "--domain", "b.example", "--reason", "ask", "--trigger-rebind-event", "--data", '{"queue": "d.example", "x": "1"}', "--set", "y=2")
    assert (r.returncode, r.stdout, r.stderr) == (0, "", note)
    assert wait_for(lambda: remote.scheduled() == {"c.example": 2, "d.example": 3}), remote.scheduled()
    assert remote.k.wait_records("AdminRebind", 3)
    assert {x["queue"] for x in remote.k.records() if x["type"] == "AdminRebind"} == {"d.example"}       # --suppress-logging
    meta = json.loads(remote.ok("inspect-message", remote.ids[1]))["message"]["meta"]
    assert json.loads(meta["seen"]) == {"queue": "d.example", "x": "1", "y": "2"}
    for args, text in ((["--reason", "x"], "--everything"), (["--reason", "x", "--everything", "--data", "[]"], "--data"), (["--reason", "x", "--everything", "--data", "{"], "--data")):
        r = remote.run("rebind", *args)
        assert (r.returncode, r.stdout) == (1, "") and text in r.stderr


def test_transfer(remote):
    r = remote.run("xfer", "--queue", "b.example", "--reason", "moving", "--target", "http://127.0.0.1:1")
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "NOTE: Xfer always runs asynchronously\n")
    q = "http://127.0.0.1:1/.xfer.kumomta.internal"
    assert wait_for(lambda: remote.scheduled().get(q) == 2), remote.scheduled()
    assert remote.ok("xfer-cancel", "--reason", "stay", q) == "{}\n"
    assert wait_for(lambda: remote.scheduled() == WAITING), remote.scheduled()
    r = remote.run("xfer-cancel", "--reason", "stay", "b.example")
    assert r.returncode == 1 and "not an xfer queue" in r.stderr


def test_inspection(remote):
    m = json.loads(remote.ok("inspect-message", remote.ids[1]))
    assert m["id"] == remote.ids[1] and m["message"]["recipient"] == "r@b.example" and m["message"]["data"] is None
    assert json.loads(remote.ok("inspect-message", "--want-body", remote.ids[1]))["message"]["data"].endswith("Subject: x\r\n\r\nbody\r\n")
    q = json.loads(remote.ok("inspect-sched-q", "b.example"))
    assert q["num_scheduled"] == 2 and {x["id"] for x in q["messages"]} == set(remote.ids[1:3]) and all(x["message"]["num_attempts"] == 1 for x in q["messages"])
    assert len(json.loads(remote.ok("inspect-sched-q", "b.example", "--limit", "1"))["messages"]) == 1
    assert all("body" in x["message"]["data"] for x in json.loads(remote.ok("inspect-sched-q", "--no-limit", "--want-body", "b.example"))["messages"])
    text = remote.ok("inspect-ready-q", READY)
    assert "queue_name: " + READY in text and "connection_count: " in text and "path_config" not in text and "\ndispatchers:" not in text and "scheduled_queue_names" not in text
    text = remote.ok("inspect-ready-q", READY, "--config", "--connections", "--sched-q")
    assert "# path_config" in text and "dispatchers:" in text and "  - spring:acme@b.example" in text
    j = json.loads(remote.ok("inspect-ready-q", READY, "--json"))
    assert j["path_config"]["enable_tls"] == "Disabled" and sorted(j["scheduled_queue_names"]) == sorted(set(WAITING) - {"b.example!a.example"})
    p = json.loads(remote.ok("resolve-egress-path", "b.example", "--json"))
    assert p["queue_name"] == READY and p["mx"]["site_name"] == "mx.b.example"
    assert json.loads(remote.ok("resolve-egress-path", "b.example", "s1", "--json"))["queue_name"] == READY.replace("unspecified", "s1")
    both, conf, limits = (remote.ok("resolve-egress-path", "b.example", *a) for a in ([], ["--config"], ["--constraints"]))
    assert both == "# %s\n%s\n%s" % (READY, conf, limits) and 'enable_tls = "Disabled"' in conf and limits.startswith("max_concurrent_dispatchers: 4\n")


def test_providers(remote):
    """Busiest first; connections are no traffic."""
    rows = remote.rows("provider-summary")[0]
    assert [r[0] for r in rows] == sorted((r[0] for r in rows), key=lambda p: (-sum(int(n) for r in rows if r[0] == p for n in r[1:4] + r[5:6]), p))
    assert ["mx.b.example", "0", "4", "0"] == [r for r in rows if r[0] == "mx.b.example"][0][:4]
    assert {r[1] for r in remote.rows("provider-summary", "--by-pool")[0]} == {"unspecified"}
    assert len(remote.rows("provider-summary", "--limit", "1")[0]) == 1
    assert "b.example" in [r for r in remote.rows("provider-summary", "--show-domains")[0] if r[0] == "mx.b.example"][0][6:]


def test_connections_do_not_make_a_provider_busy():
    answer = json.dumps({"connection_count_by_provider": {"value": {"provider": {"idle": 9, "busy": 1}}}, "total_messages_delivered_by_provider": {"value": {"provider": {"idle": 1, "busy": 2}}}})

    class Daemon(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *a):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Daemon) as d:
        threading.Thread(target=d.handle_request, daemon=True).start()
        r = run("provider-summary", endpoint="http://127.0.0.1:%d" % d.server_port)
    assert r.stdout == "PROVIDER D T F C Q\nbusy     2 0 0 1 0\nidle     1 0 0 9 0\n"


def test_a_connection_is_ended(remote):
    ready = READY.replace("b.e", "a.e")
    sessions = lambda: [d["session_id"] for d in json.loads(remote.ok("inspect-ready-q", ready, "--json"))["dispatchers"]]
    remote.sink.reply = lambda v, l: "hang" if v == "DOT" else None
    assert remote.k.client().mail("r@a.example").startswith("250") and wait_for(sessions)
    s = sessions()[0]
    remote.sink.reply = lambda v, l: None
    remote.ok("abort-ready-q-conn", ready, s)
    assert wait_for(lambda: s not in sessions())


def test_others(remote):
    assert remote.ok("set-log-filter", "kumod=debug,info") == "OK\n"
    for name in ("data", "meta"):
        assert remote.ok("spool-compact", "--name", name) == ""


@pytest.mark.parametrize("args, text", [
    (["inspect-message", "0" * 32], "no such key"), (["inspect-message", "nope"], "400"), (["inspect-sched-q", "nope.example"], "no such queue nope.example"),
    (["inspect-ready-q", "nope"], "no such ready queue nope"), (["spool-compact", "--name", "nope"], "'nope'"), (["set-log-filter", "lua=loud"], "lua=loud"),
    (["abort-ready-q-conn", "nope", "0ab5d6c8-1b1a-4f8a-9f7e-6a1d3a3e5b11"], "nope"), (["bounce-cancel", "--id", "0ab5d6c8-1b1a-4f8a-9f7e-6a1d3a3e5b11"], "not found"),
])
def test_what_is_not_there(remote, args, text):
    r = remote.run(*args)
    assert (r.returncode, r.stdout) == (1, "") and r.stderr.startswith("Error: ") and text in r.stderr, r.stderr


# --- without a daemon --------------------------------------------------------------------------------------------------

COMMANDS = re.findall(r"^  ([a-z-]+) ", run("--help").stdout.split("Commands:")[1].split("Options:")[0], re.M)


def test_the_commands():
    assert len(COMMANDS) == 25 and run("--version").stdout.startswith("kcli ") and run("-V").returncode == 0


@pytest.mark.parametrize("name", [c for c in COMMANDS if c != "help"])
def test_help_teaches_by_example(name):
    """The examples are command lines that parse: nobody listens, so each ends with status 1, not 2."""
    r = run(name, "--help")
    assert r.returncode == 0 and r.stderr == "" and r.stdout == run(name, "-h").stdout == run("help", name).stdout
    examples = [l.strip() for l in r.stdout.split("Examples:")[1].splitlines() if l.strip()]
    assert examples and all(e.startswith("kcli " + name) for e in examples)
    for e in examples:
        r = subprocess.run(["sh", "-c", e.replace("kcli ", "'%s' " % KCLI, 1)], env=dict(os.environ, KUMO_KCLI_ENDPOINT="http://127.0.0.1:1"), capture_output=True, text=True, timeout=30,
                           stdin=subprocess.DEVNULL)
        assert r.returncode == 1 and "127.0.0.1:1" in r.stderr, (e, r.stderr)


MISTAKES = [
    ([], "requires a subcommand"), (["bounse"], "a similar subcommand exists: 'bounce'"), (["--endpoint"], "a value is required for '--endpoint <ENDPOINT>'"),
    (["bounce", "--reason", "x"], "--everything"), (["bounce", "--everything", "--queue", "q", "--reason", "x"], "cannot be used with"), (["bounce", "--domain", "a"], "--reason <REASON>"),
    (["suspend", "--domain", "a", "--reason", "x", "--duration", "soon"], "'soon' for '--duration <DURATION>'"), (["suspend", "--domain", "a", "--domain", "b", "--reason", "x"], "multiple times"),
    (["suspend-cancel", "--id", "7"], "'7' for '--id <ID>'"), (["inspect-sched-q", "q", "--limit", "-1"], "unexpected argument '-1'"), (["queue-summary", "more"], "unexpected argument 'more'"),
    (["resolve-egress-path", "d", "--json", "--config"], "cannot be used with"), (["inspect-ready-q", "q", "--json", "--config"], "cannot be used with"),
    (["top", "--update-interval", "x"], "'x' for '--update-interval <UPDATE_INTERVAL>'"), (["trace-smtp-server", "--color", "red"], "'red' for '--color <COLOR>'"), (["xfer", "--everything", "--reason", "x", "--target", "h"], "--target"),
]


@pytest.mark.parametrize("args, text", MISTAKES)
def test_mistakes(args, text):
    r = run(*args)
    assert (r.returncode, r.stdout) == (2, "") and r.stderr.startswith("error: ") and text in r.stderr, r.stderr
    assert "Usage: kcli" in r.stderr and "'--help'" in r.stderr


def test_the_endpoint(remote):
    assert run("suspend-list", endpoint=remote.env["KUMO_KCLI_ENDPOINT"] + "/", env={"KUMO_KCLI_ENDPOINT": "http://127.0.0.1:1"}).stdout == "[]\n"      # the option wins
    for bad in ("nope", "127.0.0.1:8000", "ftp://127.0.0.1:1"):
        for how in ({"endpoint": bad}, {"env": {"KUMO_KCLI_ENDPOINT": bad}}):
            r = run("suspend-list", **how)
            assert (r.returncode, r.stdout) == (1, "") and bad in r.stderr, r.stderr


# --- top ---------------------------------------------------------------------------------------------------------------

class Terminal:
    """A command on a terminal of 80 by 24; text is all that it has written there."""
    def __init__(self, args, env):
        self.text = ""
        pid, self.fd = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            os.execve(args[0], args, dict(os.environ, **env))
        self.pid, self.status = pid, None

    def wait(self, what, timeout=15):
        end = time.time() + timeout
        while time.time() < end and not re.search(what, self.text, re.S):
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode("utf-8", "replace")
                except OSError:
                    break
        assert re.search(what, self.text, re.S), self.text[-3000:]

    def end(self, key):
        os.write(self.fd, key)
        self.wait(r"\x1b\[\?1049l")
        quiet = termios.tcgetattr(self.fd)[3] & (termios.ECHO | termios.ICANON) == 0
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return self.status, quiet


@pytest.mark.parametrize("key", [b"q", b"\x1b", b"\x03"])
def test_top(remote, key):
    """It counts, outlives the daemon, and gives the screen back."""
    t = Terminal([KCLI, "top", "--update-interval", "1"], remote.env)
    try:
        t.wait(r"\x1b\[\?1049h.*out/s.*mx\.b\.example .*spring:acme@b\.example")
        assert termios.tcgetattr(t.fd)[3] & (termios.ECHO | termios.ICANON) == 0
        t.text = ""
        c = remote.k.client()
        for _ in range(20):
            c.mail("r@a.example")
        c.close()
        t.wait(r"in/s out/s[^\n]*\n +(1[0-9]|20) +(1[0-9]|20) ")
        remote.k.stop()
        t.text = ""
        t.wait("Is kumod running.*Is kumod running")
    finally:
        status, quiet = t.end(key)
    assert (status, quiet) == (0, False)
    (last,) = re.findall(r"\x1b\[\?7h\x1b\[\?25h\x1b\[\?1049l(.*)$", t.text, re.S)
    assert last == ""


def test_top_elsewhere(remote):
    """One look after the other, until one fails."""
    p = subprocess.Popen([KCLI, "top"], env=dict(os.environ, **remote.env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    seen = 0
    while seen < 2:
        seen += "SCHEDULED QUEUE" in p.stdout.readline()
    remote.k.stop()
    out, err = p.communicate(timeout=20)
    assert p.returncode == 1 and "\x1b" not in out and err.startswith("Error: ")
