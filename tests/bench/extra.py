"""The rows that are no plain relay: memory, latency, restart, HTTP, many queues."""
import json, os, shutil, socket, statistics, subprocess, threading, time, urllib.request
from kumod import KumodRun
from peers import cpu_seconds, peak_mb

CASES, QUICK = {}, ("idle-daemon", "idle-sessions-5000", "latency-200", "http-inject", "deferred-100k", "queues-50k", "lua-state")


def case(name):
    def deco(f):
        CASES[name] = f
        return f
    return deco


def post(run, body, path="/api/inject/v1"):
    req = urllib.request.Request("http://127.0.0.1:%d%s" % (run.ports["http"], path), json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(req, timeout=120) as r:
        return json.load(r)


def zones(n):
    return "(function() local z = {} for i = 1, %d do z[i] = '$ORIGIN d' .. i .. '.example.\\n@ 300 MX 10 mx.d' .. i .. '.example.\\nmx 300 A 127.0.0.1\\n' end return z end)()" % n


class Running:
    """A kumod and, unless it is to defer everything, a sink; stopped in the end."""
    def __init__(self, tools, bin_dir, scratch, sink_args=(), **kw):
        self.sink = tools.sink(*sink_args)
        self.run = KumodRun(tools, bin_dir, scratch, self.sink.port, **kw)

    def __enter__(self):
        self.run.start()
        return self.run

    def __exit__(self, *a):
        self.run.stop()
        self.sink.stop()


@case("idle-daemon")
def _(tools, bin_dir, scratch):
    with Running(tools, bin_dir, scratch) as run:
        time.sleep(2)
        return {"rss_mb": round(run.rss_mb(), 1), "peak_rss_mb": round(peak_mb(run.pid), 1)}


@case("idle-sessions-5000")
def _(tools, bin_dir, scratch):
    with Running(tools, bin_dir, scratch) as run:
        time.sleep(1)
        before, socks = run.rss_mb(), []
        for _ in range(5000):
            s = socket.create_connection(("127.0.0.1", run.port), 10)
            s.recv(1000)
            s.sendall(b"EHLO client.example\r\n")
            s.recv(1000)
            socks.append(s)
        time.sleep(3)
        after = run.rss_mb()
        for s in socks:
            s.close()
        return {"peak_rss_mb": round(peak_mb(run.pid), 1), "mb_for_5000": round(after - before, 1), "kb_each": round((after - before) * 1024 / 5000, 1)}


@case("latency-200")
def _(tools, bin_dir, scratch):
    """From the 250 to our client to the arrival of the text's end at the next server, at 200 messages a second."""
    arrived, sent, lock = {}, {}, threading.Lock()
    srv = socket.create_server(("127.0.0.1", 0), backlog=100)

    def serve(k):
        f = k.makefile("rb")
        k.sendall(b"220 sink\r\n")
        for line in f:
            v = line[:4].upper()
            if v == b"DATA":
                k.sendall(b"354 go\r\n")
                ident = None
                for l in f:
                    if l.startswith(b"X-Ident: "):
                        ident = l[9:].strip()
                    if l == b".\r\n":
                        break
                k.sendall(b"250 2.0.0 ok\r\n")
                with lock:
                    arrived[ident] = time.perf_counter()
            elif v == b"EHLO":
                k.sendall(b"250-sink\r\n250 PIPELINING\r\n")
            elif v == b"QUIT":
                k.sendall(b"221 bye\r\n")
                return
            else:
                k.sendall(b"250 2.0.0 ok\r\n")

    def accept():
        while True:
            try:
                k, _ = srv.accept()
            except OSError:
                return
            k.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(k,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    run = KumodRun(tools, bin_dir, scratch, srv.getsockname()[1])
    run.start()
    try:
        s = socket.create_connection(("127.0.0.1", run.port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        f = s.makefile("rb")
        f.readline()

        def cmd(text):
            s.sendall(text)
            while f.readline()[3:4] == b"-":
                pass
        cmd(b"EHLO x\r\n")
        start = time.perf_counter()
        for i in range(2200):
            wait = start + i / 200 - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            cmd(b"MAIL FROM:<s@from.example>\r\n"), cmd(b"RCPT TO:<r@a.example>\r\n"), cmd(b"DATA\r\n")
            cmd(b"X-Ident: %d\r\n\r\n" % i + b"x" * 70 + b"\r\n.\r\n")
            sent[b"%d" % i] = time.perf_counter()
        end = time.time() + 10
        while len(arrived) < 2200 and time.time() < end:
            time.sleep(0.05)
        peak = peak_mb(run.pid)
    finally:
        run.stop()
        srv.close()
    d = sorted((arrived[k] - sent[k]) * 1000 for k in arrived if int(k) >= 200)
    return {"p50_ms": round(max(0.0, statistics.median(d)), 2), "p99_ms": round(max(0.0, d[int(len(d) * .99)]), 2), "n": len(d), "peak_rss_mb": round(peak, 1)}


@case("deferred-100k")
def _(tools, bin_dir, scratch):
    """Memory with 100,000 deferred messages in one queue; how soon a restart is ready with them."""
    sink = tools.sink("-r", "MAIL")
    run = KumodRun(tools, bin_dir, scratch, sink.port, retry="10h", connections=50)
    try:
        run.start()
        time.sleep(1)
        before = run.rss_mb()
        n = 100000
        for i in range(0, n, 1000):
            post(run, {"envelope_sender": "s@from.example", "content": "Subject: x\r\n\r\n" + "x" * 500, "recipients": [{"email": "r%d@a.example" % k} for k in range(i, i + 1000)]})
        end = time.time() + 300
        while time.time() < end:
            m = run.metrics()
            v = m.get("total_messages_transfail", {}).get("value", {})
            if sum(int(x) for k, x in v.get("service", {}).items() if k == "smtp_client") >= n:
                break
            time.sleep(0.5)
        time.sleep(5)
        used, peak = run.rss_mb(), peak_mb(run.pid)
        run.stop()
        stop_s = run.stop_s
        run.start()
        ready = run.ready_after
        time.sleep(3)
        again = run.rss_mb()
        return {"peak_rss_mb": round(peak, 1), "bytes_each": round((used - before) * 1048576 / n), "bytes_each_after_restart": round((again - before) * 1048576 / n), "ready_s": round(ready, 2), "stop_s": round(stop_s, 2)}
    finally:
        run.stop()
        sink.stop()


@case("http-inject")
def _(tools, bin_dir, scratch):
    with Running(tools, bin_dir, scratch) as run:
        body = {"envelope_sender": "s@from.example", "content": "From: <s@from.example>\r\nTo: <{{ email }}>\r\nSubject: hi\r\n\r\n" + ("x" * 78 + "\r\n") * 125, "recipients": [{"email": "r@a.example"}]}
        n, each = 8000, 8

        def load():
            def one():
                import http.client
                c = http.client.HTTPConnection("127.0.0.1", run.ports["http"])
                data = json.dumps(body)
                for _ in range(n // each):
                    c.request("POST", "/api/inject/v1", data, {"Content-Type": "application/json"})
                    c.getresponse().read()
            t = [threading.Thread(target=one) for _ in range(each)]
            [x.start() for x in t]
            [x.join() for x in t]
        return {k: round(v, 2) for k, v in run.measure(load, n).items()}


@case("queues-50k")
def _(tools, bin_dir, scratch):
    """Accept and defer for 50,000 queues; memory for each; how long the stop takes."""
    with Running(tools, bin_dir, scratch, zones="{}", retry="10h", extra="kumo.on('http_message_generated', function(msg) msg:set_meta('campaign', msg:recipient().user) end)\n") as run:
        before, cpu, n, start = run.rss_mb(), cpu_seconds(run.pid), 50000, time.time()
        for i in range(0, n, 1000):
            post(run, {"envelope_sender": "s@from.example", "content": "Subject: x\r\n\r\nx", "recipients": [{"email": "r%d@nowhere.example" % k} for k in range(i, i + 1000)]})
        rate = n / (time.time() - start)
        time.sleep(10)
        row = {"msgs_per_s": round(rate), "cpu_s_per_10k": round((cpu_seconds(run.pid) - cpu) / 5, 2), "peak_rss_mb": round(peak_mb(run.pid)),
               "kb_a_queue": round((run.rss_mb() - before) * 1024 / n, 2)}
    row["stop_s"] = round(run.stop_s, 2)
    return row


@case("lua-state")
def _(tools, bin_dir, scratch):
    """A Lua state under the example policy: to make it, to run the policy's top level in it, an event call in one that waits, memory."""
    top = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    etc = os.path.join(scratch, "etc")
    shutil.copytree(os.path.join(top, "share", "etc"), etc)
    with open(os.path.join(etc, "example.lua")) as f:
        text = f.read().replace("'/opt/kumomta/etc/policy/'", "'%s/'" % etc)
    with open(os.path.join(etc, "bench.lua"), "w") as f:
        f.write("package.path = '%s/share/?.lua;' .. package.path\n%s" % (top, text))
    bench = os.path.join(os.path.dirname(os.path.realpath(os.path.join(bin_dir, "kumod"))), "state_bench")
    return json.loads(subprocess.run([bench, etc + "/bench.lua"], check=True, stdout=subprocess.PIPE, timeout=60).stdout)


def destinations(n):
    def f(tools, bin_dir, scratch):
        with Running(tools, bin_dir, scratch, zones=zones(n), connections=1) as run:
            total, batch = 20000, 500

            def load():
                for i in range(0, total, batch):
                    post(run, {"envelope_sender": "s@from.example", "content": "Subject: x\r\n\r\n" + "x" * 500, "recipients": [{"email": "r@d%d.example" % (k % n + 1)} for k in range(i, i + batch)]})
            return {k: round(v, 2) for k, v in run.measure(load, total).items()}
    return f


for n in (10, 1000, 5000):
    CASES["http-batch-to-%d" % n] = destinations(n)
