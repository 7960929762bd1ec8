"""What scenarios share: a kumod under a policy on free ports, a scripted SMTP sink, an SMTP client, the log records.

Everything lives in a temporary folder and on 127.0.0.1; programs are ended by pid."""
import contextlib, glob, http.client, http.server, json, os, pwd, re, shutil, signal, socket, subprocess, tempfile, threading, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("BIN_DIR", os.path.join(ROOT, "build", "bin"))


def as_me():
    """The --user of kumod: only root must give one, and in containers many a uid has no name to give."""
    try:
        return ["--user", pwd.getpwuid(os.getuid()).pw_name]
    except KeyError:
        return []


AS_ME = as_me()

PRELUDE = r'''
local kumo = require 'kumo'
package.path = os.getenv 'TEST_SHARE' .. '/?.lua;' .. package.path
local DIR = os.getenv 'TEST_DIR'
local SINK = math.tointeger(tonumber(os.getenv 'SINK_PORT'))
local function zone(name) return '$ORIGIN ' .. name .. '.\n@ 300 MX 10 mx.' .. name .. '.\nmx 300 A 127.0.0.1\n' end
'''
# OPTIONS are read from globals that a test sets in front: LISTENER, SPOOL, LOG, PATH, QUEUE
BASE = PRELUDE + r'''
kumo.on('init', function()
  kumo.dns.configure_test_resolver { zone 'a.example', zone 'b.example' }
  for _, n in ipairs { 'data', 'meta' } do
    local s = { name = n, path = DIR .. '/spool/' .. n, kind = 'RocksDB' }
    for k, v in pairs(SPOOL or {}) do s[k] = v end
    kumo.define_spool(s)
  end
  local log = { log_dir = DIR .. '/logs', max_segment_duration = '1s' }
  for k, v in pairs(LOG or {}) do log[k] = v end
  kumo.configure_local_logs(log)
  local l = { listen = '127.0.0.1:0', hostname = 'mta.example', relay_hosts = { '127.0.0.1' } }
  for k, v in pairs(LISTENER or {}) do l[k] = v end
  kumo.start_esmtp_listener(l)
  kumo.start_http_listener { listen = '127.0.0.1:0' }
end)
kumo.on('get_egress_path_config', function()
  local p = { smtp_port = SINK, prohibited_hosts = {}, enable_tls = 'Disabled', connection_limit = 4, idle_timeout = '1s' }
  for k, v in pairs(PATH or {}) do p[k] = v end
  return kumo.make_egress_path(p)
end)
kumo.on('get_queue_config', function()
  local q = { retry_interval = '2s', max_age = '1h' }
  for k, v in pairs(QUEUE or {}) do q[k] = v end
  return kumo.make_queue_config(q)
end)
'''


def wait_for(what, timeout=20, step=0.05):
    """The first true value of what(), or its last value when time is up."""
    end = time.time() + timeout
    while True:
        v = what()
        if v or time.time() > end:
            return v
        time.sleep(step)


@contextlib.contextmanager
def http_server(handler):
    """An HTTP server on a free port of 127.0.0.1, a thread a request; its URL is .url."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as s:
        s.url = "http://127.0.0.1:%d" % s.server_port
        threading.Thread(target=s.serve_forever, daemon=True).start()
        try:
            yield s
        finally:
            s.shutdown()


class Sink:
    """reply(verb, line) gives the answer: None for the usual one, 'close', or 'hang'."""
    USUAL = {"CONNECT": "220 sink", "MAIL": "250 2.1.0 ok", "RCPT": "250 2.1.5 ok", "DATA": "354 go", "DOT": "250 2.0.0 queued", "QUIT": "221 bye"}

    def __init__(self, reply=None, caps=("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"), tls=None, addr=("127.0.0.1", 0)):
        self.reply, self.caps, self.tls, self.messages, self.rcpts, self.commands, self.ciphers, self.lock = reply or (lambda v, l: None), caps, tls, [], [], [], [], threading.Lock()
        self.open = self.most_open = 0
        self.s = socket.create_server(addr, backlog=1000)
        self.port = self.s.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.s.accept()[0],), daemon=True).start()

    def _answer(self, k, verb, line, default):
        r = self.reply(verb, line)
        if r == "hang":
            time.sleep(30)
            raise OSError
        if r == "close":
            raise OSError
        k.sendall((r or default).replace("\n", "\r\n").encode() + b"\r\n")
        return r or default

    def _serve(self, k):
        with self.lock:
            self.open += 1
            self.most_open = max(self.open, self.most_open)
        k.settimeout(60)
        k.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            rcpts, mail, verb = [], False, ""
            self._answer(k, "CONNECT", "", self.USUAL["CONNECT"])
            f = k.makefile("rb")
            while raw := f.readline():       # STARTTLS puts another in its place
                line = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
                verb = re.split("[ :]", line)[0].upper()
                with self.lock:
                    self.commands.append(line)
                if verb in ("EHLO", "LHLO"):
                    lines = ["sink"] + list(self.caps) + (["STARTTLS"] if self.tls else [])
                    self._answer(k, verb, line, "\n".join("250%s%s" % ("-" if i < len(lines) - 1 else " ", l) for i, l in enumerate(lines)))
                elif verb == "STARTTLS" and self.tls:
                    self._answer(k, verb, line, "220 go")
                    k = self.tls.wrap_socket(k, server_side=True)
                    self.ciphers.append(k.cipher())
                    f = k.makefile("rb")
                elif verb == "RCPT" and not mail:
                    self._answer(k, verb, line, "503 5.5.1 MAIL first")
                elif verb == "DATA":
                    if not self._answer(k, verb, line, self.USUAL[verb] if rcpts else "503 5.5.1 no recipients").startswith("354"):
                        continue
                    body = b""
                    for l in f:
                        if l == b".\r\n":
                            break
                        body += l
                    else:
                        raise OSError
                    if self._answer(k, "DOT", "", self.USUAL["DOT"]).startswith("2"):
                        with self.lock:
                            self.messages.append(body)
                            self.rcpts += rcpts
                    rcpts = []
                else:
                    if verb == "QUIT":
                        with self.lock:
                            self.open -= 1
                    r = self._answer(k, verb, line, self.USUAL.get(verb, "250 2.0.0 ok"))
                    if verb == "MAIL":
                        mail, rcpts = r.startswith("2"), []
                    if verb == "RCPT" and r.startswith("2"):
                        rcpts.append(re.search("<(.*)>", line).group(1))
                    if verb == "QUIT":
                        break
        k.close()
        with self.lock:
            self.open -= verb != "QUIT"

    def wait(self, n, timeout=20):
        return wait_for(lambda: len(self.messages) >= n, timeout)

    def close(self):
        self.s.close()


class Client:
    def __init__(self, port, timeout=20, first=""):
        """FIRST is sent before the greeting is waited for."""
        self.s = socket.create_connection(("127.0.0.1", port), timeout)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send(first)
        self.f = self.s.makefile("rb")
        self.greeting = self.reply()

    def reply(self):
        text = b""
        while True:
            line = self.f.readline()
            text += line
            if not line or line[3:4] != b"-":
                return text.decode("utf-8", "backslashreplace").replace("\r\n", "\n").rstrip("\n")

    def send(self, data):
        self.s.sendall(data if isinstance(data, bytes) else data.encode())

    def cmd(self, line):
        self.send(line if isinstance(line, bytes) else line.encode() + b"\r\n")
        return self.reply()

    def mail(self, rcpt="r@a.example", body=b"Subject: x\r\n\r\nbody\r\n", sender="s@from.example"):
        for line in ("MAIL FROM:<%s>" % sender, *("RCPT TO:<%s>" % r for r in ([rcpt] if isinstance(rcpt, str) else rcpt)), "DATA"):
            r = self.cmd(line)
            if r[0] not in "23":
                return r
        self.send(body + b".\r\n")
        return self.reply()

    def close(self):
        self.s.close()


class Kumod:
    def __init__(self, policy, sink_port=1, dir=None, args=(), wait=True, env=None, wrap=()):
        """WRAP: a command that runs the one behind it, say under other limits."""
        self.wrap = list(wrap)
        self.dir = dir or tempfile.mkdtemp(prefix="kumod-")
        self.own_dir, self.lines, self.ports, self.ready = dir is None, [], {}, threading.Event()
        self.policy = os.path.join(self.dir, "init.lua")
        with open(self.policy, "w") as f:
            f.write(policy)
        self.env = dict(os.environ, TEST_DIR=self.dir, TEST_SHARE=os.path.join(ROOT, "share"), SINK_PORT=str(sink_port), KUMO_NODE_ID_PATH=self.dir + "/nodeid", KUMOD_LOG="info", **(env or {}))
        self.start(args, wait)

    def start(self, args=(), wait=True):
        self.ports, self.ready = {}, threading.Event()
        self.p = subprocess.Popen(self.wrap + [os.path.join(BIN, "kumod"), "--policy", self.policy, *AS_ME, *args], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True, errors="replace")
        self.reader = threading.Thread(target=self._read, args=(self.p,), daemon=True)
        self.reader.start()
        if wait and not wait_for(lambda: self.ready.is_set() or self.p.poll() is not None, 60):
            raise RuntimeError("kumod did not start:\n" + self.stderr())

    def _read(self, p):
        for line in p.stderr:
            self.lines.append(line)
            m = re.search(r"(\w+) listener on \S*:(\d+)\s*$", line)
            if m:
                self.ports.setdefault(m.group(1), int(m.group(2)))
            if "initialization complete" in line:
                self.ready.set()

    def stderr(self):
        return "".join(self.lines)

    def client(self):
        return Client(self.ports["smtp"])

    def http(self, method, path, body=None, timeout=30):
        c = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=timeout)
        c.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"} if body is not None else {})
        r = c.getresponse()
        return r.status, r.read().decode()

    def metric(self, family, **labels):
        """The value of a metric whose labels include these; None when there is none."""
        for line in self.http("GET", "/metrics")[1].splitlines():
            m = re.match(r"%s(?:\{(.*)\})? (\S+)$" % re.escape(family), line)
            if m and all('%s="%s"' % kv in (m[1] or "") for kv in labels.items()):
                return float(m[2])

    def records(self, subdir="logs"):
        out = []
        for path in sorted(glob.glob(os.path.join(self.dir, subdir, "*"))):
            text = subprocess.run(["zstd", "-dcq", path], capture_output=True).stdout.decode("utf-8", "replace")
            for line in text.splitlines():
                with contextlib.suppress(ValueError):
                    out.append(json.loads(line))
        return out

    def wait_records(self, type, n=1, timeout=20):
        return wait_for(lambda: [r for r in self.records() if r["type"] == type][: max(n, 10 ** 9)] if sum(r["type"] == type for r in self.records()) >= n else None, timeout, 0.2) or []

    def stop(self, sig=signal.SIGTERM, timeout=60):
        if self.p.poll() is None:
            self.p.send_signal(sig)
            try:
                self.p.wait(timeout)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
                raise RuntimeError("kumod did not stop in %d s:\n%s" % (timeout, self.stderr()[-3000:]))
        self.reader.join(5)
        return self.p.returncode

    def close(self):
        with contextlib.suppress(RuntimeError):
            self.stop(timeout=8)
        if self.own_dir:
            shutil.rmtree(self.dir, ignore_errors=True)


def run_kumod(policy, *args, env=None, timeout=30):
    """Runs kumod to its end under a policy text: (exit status, stdout, stderr)."""
    d = tempfile.mkdtemp(prefix="kumod-")
    try:
        with open(d + "/init.lua", "w") as f:
            f.write(policy)
        e = dict(os.environ, TEST_DIR=d, TEST_SHARE=os.path.join(ROOT, "share"), SINK_PORT="1", KUMO_NODE_ID_PATH=d + "/nodeid", **(env or {}))
        r = subprocess.run([os.path.join(BIN, "kumod"), "--policy", d + "/init.lua", *AS_ME, *args], env=e, capture_output=True, text=True, errors="replace", timeout=timeout)
        return r.returncode, r.stdout, r.stderr
    finally:
        shutil.rmtree(d, ignore_errors=True)


# try() is pcall whose errors are their first line
MAIN = r'''
local kumo = require 'kumo'
local function try(f, ...)
  local t = table.pack(pcall(f, ...))
  if not t[1] then
    t[2] = tostring(t[2]):gsub('\nstack traceback.*', '')
  end
  return table.unpack(t, 1, t.n)
end
kumo.on('main', function()
%s
end)
'''


def script(body, **kw):
    """What BODY prints, run by kumod --script, line by line; it must succeed."""
    status, out, err = run_kumod(MAIN % body, "--script", **kw)
    assert status == 0, err
    return out.splitlines()
