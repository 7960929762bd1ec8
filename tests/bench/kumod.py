"""kumod under measurement: its policy, start, counters, stop."""
import json, os, pwd, re, shutil, signal, subprocess, tempfile, threading, time, urllib.request
from peers import cpu_seconds, peak_mb, rss_mb

POLICY = r'''
local kumo = require 'kumo'
local DIR = os.getenv 'BENCH_RUN'
local SINK = math.tointeger(tonumber(os.getenv 'SINK_PORT'))
kumo.on('init', function()
  kumo.dns.configure_test_resolver(ZONES)
  for _, n in ipairs { 'data', 'meta' } do
    kumo.define_spool { name = n, path = DIR .. '/spool/' .. n, kind = SPOOL_KIND, flush = FLUSH }
  end
  kumo.configure_local_logs { log_dir = DIR .. '/logs' }
  kumo.configure_accounting_db_path(DIR .. '/accounting.db')
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mta.example', relay_hosts = { '127.0.0.1' }, max_messages_per_connection = 10000000 }
  kumo.start_http_listener { listen = '127.0.0.1:0' }
end)
kumo.on('get_egress_path_config', function(domain, source, site)
  return kumo.make_egress_path { smtp_port = SINK, prohibited_hosts = {}, enable_tls = 'Disabled', connection_limit = CONNECTIONS, max_deliveries_per_connection = PER_CONNECTION,
    max_ready = 200000, refresh_strategy = 'Epoch' }
end)
kumo.on('get_queue_config', function(domain, tenant, campaign, routing)
  return kumo.make_queue_config { retry_interval = RETRY, max_age = '1 day', refresh_strategy = 'Epoch' }
end)
'''
DKIM = r'''
local signer = kumo.dkim.rsa_sha256_signer { domain = 'from.example', selector = 's1', headers = { 'From', 'To', 'Subject', 'Date', 'Message-ID' }, key = DIR .. '/dkim.key' }
kumo.on('smtp_server_message_received', function(msg) msg:dkim_sign(signer) end)
'''


class KumodRun:
    def __init__(self, tools, bin_dir, scratch, sink_port, flush=False, dkim=False, spool="RocksDB", reconnect=False, connections=20, retry="20m", zones=None, extra=""):
        self.dir = tempfile.mkdtemp(prefix="kumod-", dir=scratch)
        self.bin, self.sink_port, self.lines, self.ports = bin_dir, sink_port, [], {}
        if zones is None:
            zones = "{ '$ORIGIN a.example.\\n@ 300 MX 10 mx.a.example.\\nmx 300 A 127.0.0.1\\n' }"
        head = "FLUSH = %s\nSPOOL_KIND = '%s'\nPER_CONNECTION = %d\nCONNECTIONS = %d\nRETRY = '%s'\nZONES = %s\n" % (
            str(flush).lower(), spool, 1 if reconnect else 1000000, connections, retry, zones)
        if dkim:
            subprocess.run(["openssl", "genrsa", "-traditional", "-out", self.dir + "/dkim.key", "2048"], check=True, capture_output=True)
        with open(self.dir + "/init.lua", "w") as f:
            f.write(head + POLICY + (DKIM if dkim else "") + extra)

    def start(self):
        env = dict(os.environ, BENCH_RUN=self.dir, SINK_PORT=str(self.sink_port), KUMO_NODE_ID_PATH=self.dir + "/nodeid")
        user = pwd.getpwuid(os.getuid()).pw_name
        self.started = time.time()
        self.p = subprocess.Popen([os.path.join(self.bin, "kumod"), "--policy", self.dir + "/init.lua", "--user", user], env=env, stderr=subprocess.PIPE, text=True, errors="replace")
        ready = threading.Event()
        self.ready_after = None

        def read():
            for line in self.p.stderr:
                self.lines.append(line)
                m = re.search(r"(\w+) listener on [^ ]*:(\d+)\s*$", line)
                if m:
                    self.ports[m.group(1)] = int(m.group(2))
                if "initialization complete" in line:
                    self.ready_after = time.time() - self.started
                    ready.set()
        threading.Thread(target=read, daemon=True).start()
        if not ready.wait(60):
            raise RuntimeError("kumod did not start: " + "".join(self.lines[-20:]))
        self.port, self.pid = self.ports["smtp"], self.p.pid

    def metrics(self):
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics.json" % self.ports["http"], timeout=30) as r:
            return json.load(r)

    def delivered(self):
        v = self.metrics().get("total_messages_delivered", {}).get("value", {})
        v = v.get("service", v) if isinstance(v, dict) else v
        return sum(int(n) for k, n in v.items() if k == "smtp_client") if isinstance(v, dict) else int(v)

    def wait_delivered(self, n, timeout=300):
        end = time.time() + timeout
        while self.delivered() < n:
            if time.time() > end or self.p.poll() is not None:
                raise RuntimeError("%d of %d delivered; last lines: %s" % (self.delivered(), n, "".join(self.lines[-5:])))
            time.sleep(0.02)

    def measure(self, load, n):
        before, cpu, t = self.delivered(), cpu_seconds(self.pid), time.time()
        load()
        accepted = time.time() - t
        self.wait_delivered(before + n)
        wall = time.time() - t
        return {"msgs_per_s": n / wall, "cpu_s_per_10k": (cpu_seconds(self.pid) - cpu) * 10000 / n, "peak_rss_mb": peak_mb(self.pid), "tail_s": round(wall - accepted, 2)}

    def rss_mb(self):
        return rss_mb(self.pid)

    def stop(self):
        t = time.time()
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
            try:
                self.p.wait(60)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        self.stop_s = time.time() - t
        shutil.rmtree(self.dir + "/logs", ignore_errors=True)
