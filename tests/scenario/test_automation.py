"""The shaping helper with an automation daemon (here a stand-in): records go there, settings and suspensions come back."""
import base64, contextlib, hashlib, http.server, json, struct, threading
from kumotest import PRELUDE, Sink, run_kumod, wait_for

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(text, op=1, fin=True):
    data = text.encode()
    head = bytes([(0x80 if fin else 0) | op]) + (bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data)))
    return head + data


class Daemon:
    """Publishes get what is POSTed; config is the text of its shaping file; send() goes to all who subscribed."""

    def __init__(self):
        self.published, self.config, self.subscribers, self.pongs = [], "", [], []
        daemon = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, text):
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def do_POST(self):
                daemon.published.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
                self.answer(200, "ok")

            def do_GET(self):
                if self.path == "/get_config_v1/shaping.toml":
                    return self.answer(200, daemon.config)
                if self.path != "/subscribe_event_v1" or self.headers.get("Upgrade") != "websocket":
                    return self.answer(404, "no")
                accept = base64.b64encode(hashlib.sha1((self.headers["Sec-WebSocket-Key"] + GUID).encode()).digest()).decode()
                self.wfile.write(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n" % accept).encode())
                daemon.subscribers.append(self.wfile)
                with contextlib.suppress(OSError, IndexError):
                    while True:  # frames of a client: masked, small
                        head = self.rfile.read(2)
                        n, mask = head[1] & 127, self.rfile.read(4)
                        data = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(n)))
                        daemon.pongs.append((head[0] & 15, data))
                self.close_connection = True

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = "127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def send(self, data):
        for w in self.subscribers:
            w.write(data)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def test_a_stream_of_messages():
    d = Daemon()
    try:
        threading.Thread(target=lambda: wait_for(lambda: d.subscribers) and d.send(frame("ping", 9) + frame("one") + frame("tw", 1, False) + frame("o", 0) + frame("x" * 300)), daemon=True).start()
        status, out, err = run_kumod(PRELUDE + r'''
            kumo.on('main', function(url)
              local stream, response = kumo.http.connect_websocket(url .. '/subscribe_event_v1')
              print(response:status_code(), response:status_reason(), response:headers().upgrade)
              print(stream:recv(), stream:recv(), #stream:recv())
              print(#stream:recv_batch '10ms', #stream:recv_batch(0))
              for _, bad in ipairs { url .. '/nothing', 'http' .. url:sub(3), 'ws://127.0.0.1:1/', 'ws://a b/', 'ws:///x' } do
                local ok, e = pcall(kumo.http.connect_websocket, bad)
                print(ok, (tostring(e):gsub('\n.*', '')))
              end
            end)
        ''', "--script", "--", "ws://" + d.url)
        assert status == 0, err
        lines = out.splitlines()
        assert lines[:3] == ["101\tSwitching Protocols\twebsocket", "one\ttwo\t300", "0\t0"]
        assert lines[3] == "false\tconnecting to ws://%s/nothing: HTTP error: 404 Not Found" % d.url
        assert "begins with ws:// or wss://" in lines[4] and "connecting to ws://127.0.0.1:1/" in lines[5]
        assert "is not a URL" in lines[6] and "connecting to ws:///x" in lines[7]
        assert wait_for(lambda: d.pongs == [(10, b"ping")])
    finally:
        d.close()


POLICY = PRELUDE + r'''
local function write(name, text)
  local f = io.open(DIR .. '/' .. name, 'w')
  f:write(text)
  f:close()
  return DIR .. '/' .. name
end
local shaper = require('policy-extras.shaping'):setup_with_automation {
  publish = { os.getenv 'DAEMON' },
  subscribe = { os.getenv 'DAEMON' },
  no_default_files = true,
  extra_files = { write('shaping.toml', string.format([=[
["default"]
prohibited_hosts = []
smtp_port = %d
enable_tls = "Disabled"
connection_limit = 7
[["a.example".automation]]
regex = "no such user"
action = "Suspend"
duration = "1h"
]=], SINK)) },
}
kumo.on('init', function()
  kumo.dns.configure_test_resolver { zone 'a.example', zone 'b.example' }
  for _, n in ipairs { 'data', 'meta' } do
    kumo.define_spool { name = n, path = DIR .. '/spool/' .. n, kind = 'LocalDisk' }
  end
  kumo.configure_local_logs { log_dir = DIR .. '/logs', max_segment_duration = '1s' }
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', relay_hosts = { '127.0.0.1' } }
  kumo.start_http_listener { listen = '127.0.0.1:0' }
  shaper.setup_publish()
end)
kumo.on('get_egress_path_config', shaper.get_egress_path_config)
'''


def path_config(k):
    return json.loads(k.http("GET", "/api/admin/resolve-egress-path/v1?domain=b.example&source=unspecified")[1])["path_config"]


def test_the_daemon_is_told_and_heard(kumod):
    d = Daemon()
    sink = Sink(lambda verb, line: "550 5.1.1 no such user" if verb == "RCPT" and "nobody" in line else None)
    try:
        k = kumod(POLICY, sink_port=sink.port, env={"DAEMON": "http://" + d.url})

        def listed(path):
            return json.loads(k.http("GET", path)[1] or "[]")

        assert wait_for(lambda: d.subscribers)
        c = k.client()
        c.cmd("EHLO x.example")
        assert c.mail("nobody@a.example").startswith("250") and c.mail("nobody@b.example").startswith("250")
        assert wait_for(lambda: d.published)  # only what a rule is about
        assert [(p, r["type"], r["recipient"]) for p, r in d.published] == [("/publish_log_v1", "Bounce", ["nobody@a.example"] if isinstance(d.published[0][1]["recipient"], list) else "nobody@a.example")]
        d.config = '["default"]\nconnection_limit = 3\n'
        event = {"rule_hash": "h1", "site_name": "unspecified->mx.a.example@smtp_client", "reason": "rule", "source": "unspecified", "expires": "2099-01-01T00:00:00Z"}
        queue_event = {"rule_hash": "h2", "tenant": "acme", "domain": "a.example", "campaign": None, "reason": "rule", "expires": "2099-01-01T00:00:00Z"}
        for _ in range(2):  # a daemon repeats itself; that adds nothing
            d.send(frame(json.dumps({"ReadyQSuspension": event})) + frame(json.dumps({"SchedQSuspension": queue_event})) + frame(json.dumps({"SchedQBounce": dict(queue_event, tenant=None)})))
        assert wait_for(lambda: listed("/api/admin/bounce/v1"))
        assert [(s["name"], s["reason"]) for s in listed("/api/admin/suspend-ready-q/v1")] == [("unspecified->mx.a.example@smtp_client", "rule (rule_hash=h1)")]
        assert [(s.get("tenant"), s.get("domain"), s.get("campaign")) for s in listed("/api/admin/suspend/v1")] == [("acme", "a.example", None)]
        assert [(s.get("tenant"), s.get("domain")) for s in listed("/api/admin/bounce/v1")] == [(None, "a.example")]
        # its settings lie over ours as soon as it has said that there is something new
        assert wait_for(lambda: path_config(k)["connection_limit"]["limit"] == 3)
        assert k.stop() == 0
    finally:
        d.close()
        sink.close()
