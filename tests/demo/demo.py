#!/usr/bin/python3
"""script/demo - starts kumod under the tutorial's policy with a test zone and a local sink, sends mail, and shows what became of it.

    script/demo          shows it and cleans up
    script/demo --keep   leaves everything running and prints how to talk to it"""
import argparse, base64, collections, contextlib, json, os, shutil, signal, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from kumotest import BIN, Kumod, Sink, wait_for

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM", "dumb") != "dumb"
HEAD = ("From: Shop <news@shop.example>\r\nTo: <%s>\r\nSubject: Hello\r\nMessage-ID: <1@shop.example>\r\n"
        "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nX-Tenant: acme\r\nX-Campaign: autumn\r\n\r\nGood news.\r\n")
SMTP_RCPTS = ["you%d@inbox.example" % i for i in range(40)] + ["busy@slow.example", "nobody@gone.example"]
HTTP_REQUEST = {"envelope_sender": "news@shop.example", "content": "From: <news@shop.example>\nTo: <{{ email }}>\nSubject: Hello {{ name }}\n\nDear {{ name }}!\n",
                "recipients": [{"email": "ann@inbox.example", "name": "Ann"}, {"email": "bob@inbox.example", "name": "Bob"}]}
DELIVERED = len(SMTP_RCPTS) - 1 + len(HTTP_REQUEST["recipients"])
RECORD_KEYS = ["type", "id", "sender", "recipient", "queue", "site", "size", "response", "num_attempts", "created_time", "event_time", "egress_pool", "egress_source", "delivery_protocol"]
POLICY = r'''
local kumo = require 'kumo'
package.path = os.getenv 'TEST_SHARE' .. '/?.lua;' .. package.path
local DIR, SINK = os.getenv 'TEST_DIR', math.tointeger(tonumber(os.getenv 'SINK_PORT'))
local listener_domains = require 'policy-extras.listener_domains'
local sources = require 'policy-extras.sources'
local queues = require 'policy-extras.queue'
local signing = require 'policy-extras.dkim_sign'
local shaping = require 'policy-extras.shaping'

kumo.on('init', function()
  kumo.dns.configure_test_resolver {
    '$ORIGIN inbox.example.\n@ 300 MX 10 mx.inbox.example.\nmx 300 A 127.0.0.1\n',
    '$ORIGIN slow.example.\n@ 300 MX 10 mx.slow.example.\nmx 300 A 127.0.0.1\n',
    '$ORIGIN gone.example.\n@ 300 MX 10 mx.gone.example.\nmx 300 A 127.0.0.1\n',
  }
  for _, n in ipairs { 'data', 'meta' } do kumo.define_spool { name = n, path = DIR .. '/spool/' .. n, kind = 'RocksDB' } end
  kumo.configure_bounce_classifier { files = { os.getenv 'TEST_SHARE' .. '/bounce_classifier/iana.toml' } }
  kumo.configure_local_logs { log_dir = DIR .. '/logs', max_segment_duration = '1s' }
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mta.example', relay_hosts = { '127.0.0.1' } }
  kumo.start_http_listener { listen = '127.0.0.1:0' }
end)

kumo.on('get_listener_domain', listener_domains:setup { DIR .. '/listener_domains.toml' })
sources:setup { DIR .. '/sources.toml' }
local queue_helper = queues:setup { DIR .. '/queues.toml' }
local signer = signing:setup { DIR .. '/dkim_data.toml' }
local shaper = shaping:setup_with_automation { extra_files = { DIR .. '/shaping.toml' }, no_default_files = true }

kumo.on('get_egress_path_config', function(domain, source, site)
  local p = shaper.get_egress_path_config(domain, source, site)
  return p
end)
kumo.on('smtp_server_message_received', function(msg) queue_helper:apply(msg) signer(msg) end)
kumo.on('http_message_generated', function(msg) queue_helper:apply(msg) signer(msg) end)
'''
FILES = {
    "listener_domains.toml": '["example.com"]\nrelay_to = true\n',
    "sources.toml": '[source."ip-1"]\nsource_address = "127.0.0.1"\n[pool."main"]\n[pool."main"."ip-1"]\nweight = 1\n',
    "queues.toml": 'tenant_header = "X-Tenant"\nremove_tenant_header = true\ncampaign_header = "X-Campaign"\n[tenant.default]\negress_pool = "main"\nmax_age = "10 minutes"\n[tenant.acme]\negress_pool = "main"\n[queue.default]\negress_pool = "main"\nretry_interval = "2s"\n',
    "shaping.toml": '[default]\nconnection_limit = 5\nmax_message_rate = "500/s"\nprohibited_hosts = []\nenable_tls = "Disabled"\nsmtp_port = SINK\nidle_timeout = "1s"\n',
    "dkim_data.toml": '[base]\nselector = "s1"\nheaders = ["From", "To", "Subject", "Date", "Message-ID"]\n[domain."shop.example"]\nfilename = "DIR/dkim.key"\n',
}


def say(text):
    print("\n\033[1m%s\033[0m" % text if COLOUR else "\n" + text)


def row(what, value, more=""):
    print("  %-21s %s%s" % (what, value, more and "   " + more))


def prepare(sink_port):
    d = tempfile.mkdtemp(prefix="kumo-demo-")
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", d + "/dkim.key", "2048"], check=True, capture_output=True)
    for name, text in FILES.items():
        with open(os.path.join(d, name), "w") as f:
            f.write(text.replace("SINK", str(sink_port)).replace("DIR", d))
    return d


def sink_reply():
    """What the next server says: slow.example defers its first recipient, gone.example knows nobody."""
    seen = set()

    def reply(verb, line):
        if verb == "RCPT" and "slow.example" in line and "slow" not in seen:
            seen.add("slow")
            return "451 4.7.1 greylisted, come back in a moment"
        if verb == "RCPT" and "gone.example" in line:
            return "550 5.1.1 no such user"
    return reply


def start(s, d):
    k = Kumod(POLICY, sink_port=s.port, dir=d)
    k.own_dir = True
    if not k.ready.is_set():
        k.close()
        sys.exit("kumod did not start:\n" + k.stderr())
    say("kumod is running")
    row("its files", k.dir, "policy, key, spool, logs")
    row("SMTP", "127.0.0.1:%d" % k.ports["smtp"])
    row("HTTP", "127.0.0.1:%d" % k.ports["http"])
    row("the next server", "127.0.0.1:%d" % s.port, "plays inbox.example, slow.example (defers) and gone.example (refuses)")
    return k


def signature_verifies(message, key):
    try:
        import dkim
    except ImportError:
        return "python3-dkim is not installed"
    pub = subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-outform", "DER"], capture_output=True, check=True).stdout
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(pub)
    return "yes" if dkim.verify(message, dnsfunc=lambda *a, **k: record) else "NO"


def send(k):
    say("Sending %d messages by SMTP, %d by HTTP" % (len(SMTP_RCPTS), len(HTTP_REQUEST["recipients"])))
    c = k.client()
    c.cmd("EHLO shop.example")
    started = time.time()
    replies = {r: c.mail(r, (HEAD % r).encode(), "news@shop.example") for r in SMTP_RCPTS}
    seconds = time.time() - started
    c.close()
    for r in (SMTP_RCPTS[0], "...", *SMTP_RCPTS[-2:]):
        row(r, replies.get(r, "%d more" % (len(SMTP_RCPTS) - 3)))
    status, text = k.http("POST", "/api/inject/v1", HTTP_REQUEST)
    row("POST /api/inject/v1", "%d %s" % (status, text))
    row("speed", "%.0f messages a second" % (len(SMTP_RCPTS) / seconds), "one connection, each stored before its 250")


def answer(record):
    r = record["response"]
    e = r["enhanced_code"]
    return "%s: %d %s%s" % (record["recipient"], r["code"], "%(class)d.%(subject)d.%(detail)d " % e if e else "", r["content"])


def show_fates(k, s):
    """Returns all records, and whether they are what the policy and the sink make of these messages."""
    recs = wait_for(lambda: (lambda r: r if sum(x["type"] == "Delivery" for x in r) >= DELIVERED else None)(k.records()), 20, 0.3) or k.records()
    kinds = collections.defaultdict(list)
    for r in recs:
        kinds[r["type"]].append(r)
    retried = [r for r in kinds["Delivery"] if "slow" in str(r["recipient"])]
    signed = next((m for m in s.messages if b"DKIM-Signature" in m), None)
    verdict = signature_verifies(signed, k.dir + "/dkim.key") if signed else "NO, nothing was signed"
    say("What became of them")
    row("delivered", len(kinds["Delivery"]))
    for r in kinds["TransientFailure"]:
        row("deferred", len(kinds["TransientFailure"]), answer(r))
        row("", " ", "delivered at its retry, attempt %d" % (retried[0]["num_attempts"] + 1) if retried else "still waiting for its retry")
    for r in kinds["Bounce"]:
        row("bounced", len(kinds["Bounce"]), "%s (class %s)" % (answer(r), r["bounce_classification"]))
    row("DKIM verifies", verdict)
    return recs, [len(kinds[t]) for t in ("Delivery", "TransientFailure", "Bounce")] == [DELIVERED, 1, 1] and not verdict.startswith("NO")


def show_record(recs):
    record = next((r for r in recs if r["type"] == "Delivery"), {})
    say("One of %d log records, the main parts" % len(recs))
    for key in RECORD_KEYS:
        if key in record:
            row(key, json.dumps(record[key]))


def show_queues(k):
    say("The queues: kcli queue-summary")
    sys.stdout.flush()
    subprocess.run([os.path.join(BIN, "kcli"), "--endpoint", "http://127.0.0.1:%d" % k.ports["http"], "queue-summary"])
    print("\nD delivered, T deferred, C connections, Q waiting")


def keep(k, s):
    """Until Ctrl-C: says what reaches the sink."""
    smtp, http = k.ports["smtp"], k.ports["http"]
    say("Still running; Ctrl-C ends it. From another terminal, in %s:" % ROOT)
    for what, command in (
        ("send a message", "swaks --server 127.0.0.1:%d --from news@shop.example --to you@inbox.example" % smtp),
        ("one that bounces", "swaks --server 127.0.0.1:%d --from news@shop.example --to you@gone.example" % smtp),
        ("by HTTP", "curl -s http://127.0.0.1:%d/api/inject/v1 -H 'Content-Type: application/json' -d '%s'" % (http, json.dumps(
            {"envelope_sender": "news@shop.example", "content": "Subject: hi\n\nhi\n", "recipients": [{"email": "you@inbox.example"}]}))),
        ("follow the log", "build/bin/tailer --tail %s/logs" % k.dir),
        ("see the queues", "build/bin/kcli --endpoint http://127.0.0.1:%d queue-summary" % http),
        ("hold a domain back", "build/bin/kcli --endpoint http://127.0.0.1:%d suspend --domain inbox.example --reason testing" % http),
        ("read the policy", "less %s/init.lua" % k.dir),
    ):
        print("  %-21s %s" % (what, command))
    print("\nWhat reaches the next server:")
    seen = len(s.rcpts)
    while k.p.poll() is None:
        time.sleep(0.2)
        for r in s.rcpts[seen:]:
            print("  %s  a message for %s" % (time.strftime("%H:%M:%S"), r))
            seen += 1
    sys.exit("kumod has ended:\n" + k.stderr()[-2000:])


def end(signum, frame):
    raise KeyboardInterrupt


def main():
    ap = argparse.ArgumentParser(prog="script/demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")
    a = ap.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, end)
    with contextlib.ExitStack() as undo:
        undo.callback(lambda: say("Stopped; nothing is left running."))
        s = Sink(sink_reply())
        undo.callback(s.close)
        d = prepare(s.port)
        undo.callback(shutil.rmtree, d, ignore_errors=True)
        k = start(s, d)
        undo.callback(k.close)
        send(k)
        recs, good = show_fates(k, s)
        show_record(recs)
        show_queues(k)
        if a.keep:
            keep(k, s)
    if not good:
        sys.exit("This is not what should have become of them; kumod said:\n" + k.stderr()[-2000:])
    print("Next: docs/tutorial.md, from nothing to signed, shaped mail.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
