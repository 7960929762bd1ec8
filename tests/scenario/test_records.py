"""Log records: every type with every field of reference/log_record, and the options of loggers."""
import glob, json, os, re, subprocess
import pytest
from kumotest import BASE, Client, Kumod, Sink, run_kumod, wait_for

COMMON = {"type", "id", "sender", "recipient", "queue", "site", "size", "response", "peer_address", "timestamp", "event_time", "created", "created_time", "num_attempts", "bounce_classification",
          "egress_pool", "egress_source", "source_address", "feedback_report", "meta", "headers", "delivery_protocol", "reception_protocol", "nodeid"}
LOCAL = {"name": "me.example", "addr": "127.0.0.1"}
MX = {"name": "mx.a.example.", "addr": "127.0.0.1"}
SITE = "unspecified->mx.a.example@smtp_client"


def code(n, content, enhanced=None, command=None):
    e = dict(zip(("class", "subject", "detail"), enhanced)) if enhanced else None
    return {"code": n, "enhanced_code": e, "content": content, "command": command}


# queue, site, response, peer, (pool, source, protocol), num_attempts, whether there is a session
WANT = {
    ("ok", "Reception"): ("a.example", "", code(250, ""), LOCAL, (None, None, None), 0, True),
    ("ok", "Delivery"): ("a.example", SITE, code(250, "queued", (2, 0, 0), ".\r\n"), MX, ("unspecified", "unspecified", "ESMTP"), 0, True),
    ("bounce", "Bounce"): ("a.example", SITE, code(550, "gone", (5, 1, 1), "RCPT TO:<bounce@a.example>\r\n"), MX, ("unspecified", "unspecified", "ESMTP"), 0, True),
    ("later", "TransientFailure"): ("a.example", SITE, code(451, "wait", (4, 2, 1), "RCPT TO:<later@a.example>\r\n"), MX, ("unspecified", "unspecified", "ESMTP"), 0, True),
    ("later", "AdminBounce"): ("a.example", "localhost", code(551, "Administrator bounced with reason: because", (5, 7, 1)), None, (None, None, None), 1, False),
    ("old", "Expiration"): ("old@a.example", "", code(551, re.compile(r"Next delivery time would be \d\S+( \S+)* after creation, which exceeds max_age=1s$"), (5, 4, 7)), None, (None, None, None), 1, False),
    ("sched", "Delayed"): ("b.example", "", code(400, re.compile(r"Context: Received, ScheduledForLater\. Next due in .* at 2099-01-01T00:00:00")), None, (None, None, None), 0, False),
    ("sched", "AdminRebind"): ("there:q@b.example", "", code(250, "Rebound from b.example to there:q@b.example: moving"), None, (None, None, None), 0, False),
    ("def", "DeferredInjectionRebind"): ("a.example", "unspecified->deferred_smtp_inject.kumomta.internal@defersmtpinject", code(250, "ok"), None, (None, None, "DeferredSmtpInjection"), 0, False),
}


def matches(got, want):
    if isinstance(want, re.Pattern):
        return bool(want.match(got))
    if isinstance(want, dict) and isinstance(got, dict):
        return set(got) == set(want) and all(matches(got[k], want[k]) for k in want)
    return got == want


@pytest.fixture(scope="module")
def world():
    """A daemon that has seen a bit of everything; its records by (local part, type)."""
    rules = {"bounce": "550 5.1.1 gone", "later": "451 4.2.1 wait", "old": "451 4.2.1 wait"}
    s = Sink(lambda verb, line: rules.get(line[9:].split("@")[0]) if verb == "RCPT" else None)
    k = Kumod("LOG = { headers = { 'subject', 'X-A*' }, meta = { 'who', 'x_*', 'X_Two' } }\n" + BASE.replace(
        "kumo.start_http_listener", "kumo.start_esmtp_listener { listen = '127.0.0.1:0', deferred_queue = true, relay_hosts = { '127.0.0.1' } }\n  kumo.start_http_listener").replace(
        "function()\n  local q = { retry_interval = '2s', max_age = '1h' }", "function(domain, tenant)\n  local q = { retry_interval = tenant == 'old' and '2s' or '20m', max_age = tenant == 'old' and '1s' or '200y' }") + r'''
kumo.on('get_listener_domain', function(d)
  return kumo.make_listener_domain { relay_from = { '127.0.0.1' }, log_oob = d == 'reports.example' and 'LogThenDrop', log_arf = d == 'reports.example' and 'LogThenDrop' }
end)
kumo.on('smtp_server_message_received', function(m)
  local user = m:recipient().user
  m:set_meta('who', { a = 1 })
  m:set_meta('x_one', 'v')
  m:set_meta('x_two', 2)
  m:set_meta('other', true)
  if user == 'old' then m:set_meta('tenant', 'old') end
  if user == 'sched' then m:set_scheduling { first_attempt = '2099-01-01T00:00:00Z' } end
  if user == 'reject' then kumo.reject(550, '5.7.1 no thanks') end
end)
''', sink_port=s.port)
    c = k.client()
    c.cmd("EHLO me.example")
    for user in ("ok", "bounce", "later", "old", "sched", "reject"):
        c.mail("%s@%s.example" % (user, "b" if user == "sched" else "a"), b"Subject: =?utf-8?q?h=C3=A9?=\r\nX-A: 1\r\nx-a: 2\r\nX-B: 3\r\n\r\nhi\r\n")
    c.mail("bounces@reports.example", OOB, sender="")
    c.mail("fbl@reports.example", ARF, sender="")
    c.cmd("MAIL FROM:<bad")
    deferred = [int(m) for m in re.findall(r"smtp listener on 127\.0\.0\.1:(\d+)", k.stderr()) if int(m) != k.ports["smtp"]]
    d = Client(deferred[0])
    d.cmd("EHLO me.example")
    d.mail("def@a.example")
    assert k.wait_records("TransientFailure", 2) and k.wait_records("Expiration") and k.wait_records("Delayed") and k.wait_records("DeferredInjectionRebind")
    assert k.http("POST", "/api/admin/bounce/v1", {"domain": "a.example", "reason": "because", "duration": "1s"})[0] == 200
    assert k.http("POST", "/api/admin/rebind/v1", {"domain": "b.example", "reason": "moving", "data": {"campaign": "there", "tenant": "q"}})[0] == 200
    assert k.wait_records("AdminBounce") and k.wait_records("AdminRebind")
    k.stop()
    yield {(r["recipient"].split("@")[0], r["type"]): r for r in reversed(k.records())}
    k.close()
    s.close()


@pytest.mark.parametrize("case", WANT)
def test_fields(world, case):
    r, (queue, site, response, peer, out, attempts, session) = world[case], WANT[case]
    assert set(r) - {"session_id"} == COMMON and ("session_id" in r) == session
    assert matches(r["response"], response), r["response"]
    assert (r["queue"], r["site"], r["peer_address"], r["num_attempts"]) == (queue, site, peer, attempts)
    assert (r["egress_pool"], r["egress_source"], r["delivery_protocol"]) == out and r["reception_protocol"] == "ESMTP"
    assert bool(r["source_address"]) == (peer is MX) and r["feedback_report"] is None and r["bounce_classification"] == "Uncategorized"
    assert r["sender"] == "s@from.example" and re.fullmatch("[0-9a-f]{32}", r["id"]) and r["size"] > 50
    if case[0] != "def":
        assert r["meta"] == {"who": {"a": 1}, "x_one": "v", "x_two": 2}     # names are case-sensitive
        assert r["headers"] == {"Subject": "h\u00e9", "X-A": ["1", "2"]}
    for seconds, text in ((r["timestamp"], r["event_time"]), (r["created"], r["created_time"])):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", text) and subprocess.check_output(["date", "-u", "-d", text, "+%s"], text=True).strip() == str(seconds)


def test_one_session_has_one_id(world):
    assert world["ok", "Reception"]["session_id"] == world["bounce", "Reception"]["session_id"] == world["", "Rejection"]["session_id"] != world["ok", "Delivery"]["session_id"]
    assert len({r["nodeid"] for r in world.values()}) == 1


def test_rejection(world):
    r = world["", "Rejection"]
    assert r["response"] == code(550, "no thanks", (5, 7, 1), "DATA") and (r["id"], r["recipient"], r["peer_address"]) == ("", "", LOCAL)


REPORT = """From: MAILER-DAEMON@x.example
MIME-Version: 1.0
Content-Type: multipart/report; report-type=%s; boundary="B"

--B
Content-Type: text/plain

For people.
--B
Content-Type: message/%s

%s
--B
Content-Type: message/rfc822

Subject: original

hi
--B--
"""


def report(*a):
    return (REPORT % a).replace("\n", "\r\n").encode()


OOB = report("delivery-status", "delivery-status", """Reporting-MTA: dns; gw.x.example

Original-Recipient: rfc822; alias@x.example
Final-Recipient: rfc822; u@x.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 554 5.1.1 no such
Last-Attempt-Date: Tue, 1 Jul 2025 10:53:37 +0000

Final-Recipient: rfc822; delayed@x.example
Action: delayed
Status: 4.0.0

Final-Recipient: rfc822; full@x.example
Action: failed
Status: 5.2.2
""")
ARF = report("feedback-report", "feedback-report", "Feedback-Type: abuse\nUser-Agent: X/1\nVersion: 1\nRemoval-Recipient: u@x.example\n")


def test_oob(world):
    """A record for each recipient that failed; its time is that of the attempt."""
    r, full = world["alias", "OOB"], world["full", "OOB"]
    assert set(r) == COMMON | {"session_id"} and ("delayed", "OOB") not in world
    assert (r["sender"], r["recipient"], r["size"], r["peer_address"]) == ("bounces@reports.example", "alias@x.example", 0, {"name": "gw.x.example", "addr": "127.0.0.1"})
    assert r["response"] == code(554, "5.1.1 no such", (5, 1, 1)) and full["response"] == code(550, "", (5, 2, 2))
    assert (r["timestamp"], r["event_time"][:19]) == (1751367217, "2025-07-01T10:53:37") and full["timestamp"] >= r["created"] > r["timestamp"]
    assert world["bounces", "Reception"]["id"] == r["id"]


def test_feedback(world):
    r = world["fbl", "Feedback"]
    assert ("fbl", "Reception") not in world and set(r) == COMMON | {"session_id"}
    f = r["feedback_report"]
    assert (f["feedback_type"], f["user_agent"], f["extensions"]) == ("abuse", "X/1", {"removal-recipient": ["u@x.example"]}) and "original" in f["original_message"]


# --- options of configure_local_logs ---


def files(k, folder="logs"):
    """The lines of each segment that is finished: a whole zstd frame."""
    out = {}
    for path in sorted(glob.glob("%s/%s/*" % (k.dir, folder))):
        if os.path.isfile(path):
            r = subprocess.run(["zstd", "-dcq", path], capture_output=True, text=True)
            if r.returncode == 0:
                out[os.path.basename(path)] = r.stdout.splitlines()
    return out


def log(kumod, sink, options, rcpts=("ok@a.example",), n=1, post=""):
    s = sink(lambda verb, line: "550 5.1.1 gone" if verb == "RCPT" and "<bounce" in line else None)
    k = kumod(BASE.replace("local log = { log_dir = DIR .. '/logs', max_segment_duration = '1s' }", "local log = { log_dir = DIR .. '/logs', %s }" % options) + post, sink_port=s.port)
    c = k.client()
    for _ in range(n):
        for r in rcpts:
            assert c.mail(r).startswith("250")
    assert s.wait(n)
    return k


def test_per_record(kumod, sink):
    k = log(kumod, sink, """per_record = {
      Reception = { suffix = '_recv', segment_header = 'first line\\nsecond\\n' }, Delivery = { log_dir = DIR .. '/deliveries' },
      Bounce = { suffix = '.txt', template = 'Bounce! id={{ id }}, from={{ sender }} code={{ response.code }} none={{ code }} h={{ headers }}' },
      Any = { enable = false } }""", ("ok@a.example", "bounce@a.example", "bounce@nosuch.example"))
    assert wait_for(lambda: k.metric("total_messages_fail", service="smtp_client"))
    k.stop()
    got = files(k)
    assert sorted(re.sub(r"^\d{8}-\d{6}\.\d+", "", name) for name in got) == [".txt", "_recv"]
    recv = next(lines for name, lines in got.items() if name.endswith("_recv"))
    assert recv[:2] == ["first line", "second"] and [json.loads(l)["type"] for l in recv[2:]] == ["Reception"] * 3
    bounce = next(lines for name, lines in got.items() if name.endswith(".txt"))
    assert len(bounce) == 1 and re.fullmatch(r"Bounce! id=[0-9a-f]{32}, from=s@from.example code=550 none= h=\{\}", bounce[0])
    assert [json.loads(l)["type"] for lines in files(k, "deliveries").values() for l in lines] == ["Delivery"]


def test_max_file_size(kumod, sink):
    """Bytes before compression; a record is not divided."""
    k = log(kumod, sink, "max_file_size = 2500, compression_level = 19", n=9)
    k.stop()
    sizes = [sum(len(l) + 1 for l in lines) for lines in files(k).values()]
    assert len(sizes) > 4 and all(2500 <= size < 5000 for size in sizes[:-1]), sizes
    assert len(k.records()) == 18


def test_max_segment_duration(kumod, sink):
    k = log(kumod, sink, "max_segment_duration = '1s'")
    assert wait_for(lambda: sum(map(len, files(k).values())) == 2, 5)      # finished without another record
    before = set(files(k))
    k.client().mail()
    assert k.wait_records("Delivery", 2, 5) and set(files(k)) > before
    k = log(kumod, sink, "")
    assert not wait_for(lambda: files(k), 2)
    k.stop()
    assert [len(lines) for lines in files(k).values()] == [2]


@pytest.mark.parametrize("options, words", [("compression_level = 23", "compression_level"), ("per_record = { Nonsense = {} }", "Nonsense"), ("max_segment_duration = 'x'", "max_segment_duration"),
                                            ("per_record = { Bounce = { template = '{{ }' } }", "template"), ("min_free_space = 'x'", "min_free_space")])
def test_options_refused(kumod, options, words):
    status, out, err = run_kumod(BASE.replace("max_segment_duration = '1s' }", options + " }"))
    assert status == 1 and words in err, err


# --- hooks ---

HOOKS = r'''
local function note(what) local f = io.open(DIR .. '/notes', 'a'); f:write(what .. '\n'); f:close() end
kumo.on('pre_init', function()
  kumo.configure_log_hook { name = 'one', meta = { 'x_*' }, headers = { 'Subject' }, per_record = { Bounce = { enable = false } } }
  kumo.configure_log_hook { name = 'two', per_record = { Delivery = { template = 'to {{ recipient }} by {{ site }}' }, Any = { enable = false } } }
  kumo.configure_log_disposition_hook { name = 'three', per_record = { Reception = { enable = false } } }
end)
kumo.on('smtp_server_message_received', function(m) m:set_meta('x_mark', 'm') end)
kumo.on('should_enqueue_log_record', function(m, hook)
  local r = m:get_meta 'log_record'
  note(string.format('%s %s %s %s', hook, r.type, m:get_meta 'reception_protocol', r.meta.x_mark))
  if hook == 'two' then note((m:get_data():gsub('\n$', ''))) end
  if hook == 'one' then note('body ' .. tostring(kumo.serde.json_parse(m:get_data()).headers.Subject)) end
  m:set_meta('queue', 'null')
  return true
end)
kumo.on('log_disposition_three', function(m, r)
  note(string.format('three %s %s %s', r.type, m:recipient().user, r.response.code))
end)
'''


def test_hooks(kumod, sink):
    """What hooks make are messages of which no hook is told; per_record, template, meta and headers are a hook's own."""
    k = log(kumod, sink, "max_segment_duration = '1s'", ("ok@a.example", "bounce@a.example"), post=HOOKS)
    assert k.wait_records("Bounce") and k.wait_records("Delivery")
    notes = wait_for(lambda: (lambda t: len(t) >= 10 and t)(open(k.dir + "/notes").read().splitlines()))
    assert sorted(notes) == sorted(["one Reception LogRecord m", "body x"] * 2 + ["one Delivery LogRecord m", "body x", "two Delivery LogRecord nil", "to ok@a.example by " + SITE,
                                                                                  "three Delivery ok 250", "three Bounce bounce 550"])
    assert sorted(r["type"] for r in k.records()) == ["Bounce", "Delivery", "Reception", "Reception"]
