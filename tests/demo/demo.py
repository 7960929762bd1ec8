#!/usr/bin/python3
"""script/demo - starts kumod under the tutorial's policy with a test zone and a local sink, sends mail, and shows what became of it.

    script/demo          shows it and cleans up
    script/demo --keep   leaves everything running and prints how to talk to it"""
import argparse, json, os, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from kumotest import BIN, Kumod, Sink, wait_for

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
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


def say(text, code="1"):
    print("\033[%sm%s\033[0m" % (code, text) if COLOUR else text, flush=True)


def table(rows):
    for what, value in rows:
        print("  %-26s %s" % (what, value))


def prepare(sink_port):
    d = tempfile.mkdtemp(prefix="kumo-demo-")
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", d + "/dkim.key", "2048"], check=True, capture_output=True)
    for name, text in FILES.items():
        with open(os.path.join(d, name), "w") as f:
            f.write(text.replace("SINK", str(sink_port)).replace("DIR", d))
    return d


def signature_verifies(message, key):
    try:
        import dkim
    except ImportError:
        return "python3-dkim is not installed"
    pub = subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-outform", "DER"], capture_output=True, check=True).stdout
    import base64
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(pub)
    return "yes" if dkim.verify(message, dnsfunc=lambda *a, **k: record) else "NO"


def inject(k):
    c = k.client()
    c.cmd("EHLO shop.example")
    head = b"From: Shop <news@shop.example>\r\nTo: you@inbox.example\r\nSubject: Hello\r\nMessage-ID: <1@shop.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nX-Tenant: acme\r\nX-Campaign: autumn\r\n\r\n"
    for rcpt in ["you%d@inbox.example" % i for i in range(40)] + ["busy@slow.example", "nobody@gone.example"]:
        print("\r  %s: %-40s" % (rcpt, c.mail(rcpt, head + b"Good news.\r\n", "news@shop.example")[:40]), end="" if sys.stdout.isatty() else "\n", flush=True)
    print()


def inject_http(k):
    status, text = k.http("POST", "/api/inject/v1", {"envelope_sender": "news@shop.example", "content": "From: <news@shop.example>\nTo: <{{ email }}>\nSubject: Hello {{ name }}\n\nDear {{ name }}!\n",
                                                     "recipients": [{"email": "ann@inbox.example", "name": "Ann"}, {"email": "bob@inbox.example", "name": "Bob"}]})
    print("  HTTP: %d %s" % (status, text))


def show(k, s, rate):
    recs = wait_for(lambda: (lambda r: r if sum(x["type"] == "Delivery" for x in r) >= 43 else None)(k.records()), 20, 0.3) or k.records()
    kinds = {}
    for r in recs:
        kinds[r["type"]] = kinds.get(r["type"], 0) + 1
    say("\nWhat became of it")
    table(sorted(kinds.items()))
    bounce = next((r for r in recs if r["type"] == "Bounce"), None)
    defer = next((r for r in recs if r["type"] == "TransientFailure"), None)
    if defer:
        table([("deferred", "%s: %d %s" % (defer["recipient"], defer["response"]["code"], defer["response"]["content"]))])
    retried = [r for r in recs if r["type"] == "Delivery" and "slow" in str(r["recipient"])]
    table([("then, at its retry", "delivered, attempt %d" % (retried[0]["num_attempts"] + 1) if retried else "still waiting")])
    if bounce:
        table([("bounced", "%s: %d %s, class %s" % (bounce["recipient"], bounce["response"]["code"], bounce["response"]["content"], bounce["bounce_classification"]))])
    signed = next((m for m in s.messages if b"DKIM-Signature" in m), b"")
    table([("DKIM signature verifies", signature_verifies(signed, k.dir + "/dkim.key") if signed else "nothing was signed"),
           ("accepted, one after another", "%.0f messages a second" % rate)])
    say("\nA log record")
    print(json.dumps(next((r for r in recs if r["type"] == "Delivery"), {}), indent=1)[:900])
    say("\nkcli queue-summary")
    subprocess.run([os.path.join(BIN, "kcli"), "--endpoint", "http://127.0.0.1:%d" % k.ports["http"], "queue-summary"])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--keep", action="store_true")
    a = ap.parse_args()
    tries = {}

    def reply(verb, line):
        if verb == "RCPT" and "slow.example" in line and tries.setdefault("slow", 0) < 1:
            tries["slow"] += 1
            return "451 4.7.1 greylisted, come back in a moment"
        if verb == "RCPT" and "gone.example" in line:
            return "550 5.1.1 no such user"
    s = Sink(reply)
    d = prepare(s.port)
    say("Starting kumod (%s)" % d)
    k = Kumod(POLICY, sink_port=s.port, dir=d)
    k.own_dir = True
    table([("SMTP", "127.0.0.1:%d" % k.ports["smtp"]), ("HTTP", "127.0.0.1:%d" % k.ports["http"]), ("the next server", "127.0.0.1:%d" % s.port)])
    try:
        started = time.time()
        say("\nSending")
        inject(k)
        rate = 42 / (time.time() - started)
        inject_http(k)
        show(k, s, rate)
        if a.keep:
            say("\nStill running; Ctrl-C ends it")
            print("  swaks --server 127.0.0.1:%d --to you@inbox.example --from news@shop.example\n  build/bin/kcli --endpoint http://127.0.0.1:%d queue-summary\n  build/bin/tailer --tail %s/logs"
                  % (k.ports["smtp"], k.ports["http"], d))
            k.p.wait()
    except KeyboardInterrupt:
        pass
    finally:
        k.close()
        s.close()
    say("\nStopped; nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
