"""Lua functions that talk to somebody: WebSockets to python3-websockets, transfers between two daemons, reports that a mail program reads."""
import asyncio, email, http, re, ssl, subprocess, threading

import pytest
from kumotest import BASE, Sink, script


# --- WebSockets ----------------------------------------------------------------------------------------------------------

class WebSockets:
    """A server that runs HANDLER (a coroutine of the connection) for each client."""

    def __init__(self, handler, **kw):
        import websockets
        self.loop, self.ready, self.requests = asyncio.new_event_loop(), threading.Event(), []

        async def serve(ws, *path):
            self.requests.append((ws.path, dict(ws.request_headers)))
            await handler(ws)

        async def run():
            self.server = await websockets.serve(serve, "127.0.0.1", 0, **kw)
            self.port = self.server.sockets[0].getsockname()[1]
            self.ready.set()
            await self.server.wait_closed()
        self.t = threading.Thread(target=lambda: self.loop.run_until_complete(run()), daemon=True)
        self.t.start()
        assert self.ready.wait(10)

    def close(self):
        self.loop.call_soon_threadsafe(self.server.close)
        self.t.join(10)


@pytest.fixture
def websockets():
    made = []

    def make(*a, **kw):
        made.append(WebSockets(*a, **kw))
        return made[-1]
    yield make
    for w in made:
        w.close()


def test_websocket_messages(websockets):
    async def handler(ws):
        await ws.send("one")
        await ws.ping()
        await ws.send(b"\x00\xff")
        await ws.send(["frag", "ments"])
        await ws.send("x" * 200000)
        await ws.close()
    w = websockets(handler)
    assert script("""
  local stream, response = kumo.http.connect_websocket('ws://u:p%%40@127.0.0.1:%d/a/b?c=d')
  print(response:status_code(), response:status_reason(), response:headers().upgrade, response:text() == '')
  print(stream:recv(), stream:recv() == '\\0\\xff', stream:recv(), #stream:recv())
  print(stream:recv(), stream:recv(), try(stream.recv_batch, stream, 1))
""" % w.port) == ["101\tSwitching Protocols\twebsocket\ttrue", "one\ttrue\tfragments\t200000", "nil\tnil\tfalse\twebsocket closed"]
    path, headers = w.requests[0]
    assert path == "/a/b?c=d" and headers["host"] == "127.0.0.1:%d" % w.port and headers["authorization"] == "Basic dTpwQA=="


def test_websocket_batches(websockets):
    async def handler(ws):
        for i in range(3):
            await ws.send(str(i))
        await asyncio.sleep(1)
        await ws.send("late")
    w = websockets(handler)
    assert script("""
  local stream = kumo.http.connect_websocket('ws://127.0.0.1:%d')
  local b = stream:recv_batch('400ms')
  print(#b, table.concat(b, ' '))
  print(#stream:recv_batch(0.1))
  print(table.concat(stream:recv_batch(20), ' '))
  print(try(stream.recv_batch, stream, 'soon'))
""" % w.port)[:3] == ["3\t0 1 2", "0", "late"]


def test_websocket_a_batch_loses_no_half_message():
    """The first half of a message comes before the time is up, the second after it."""
    import base64, hashlib, socket, time
    s = socket.create_server(("127.0.0.1", 0))

    def serve():
        k = s.accept()[0]
        head = b""
        while b"\r\n\r\n" not in head:
            head += k.recv(4096)
        key = [l.split(b": ")[1] for l in head.split(b"\r\n") if l.lower().startswith(b"sec-websocket-key")][0]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        k.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n\x81\x05ab")
        time.sleep(1)
        k.sendall(b"cde")
        time.sleep(0.3)
        k.close()
    t = threading.Thread(target=serve, daemon=True)
    t.start()
    assert script("""
  local stream = kumo.http.connect_websocket('ws://127.0.0.1:%d')
  print(#stream:recv_batch(0.2), stream:recv(), try(stream.recv, stream) == false)
""" % s.getsockname()[1]) == ["0\tabcde\ttrue"]
    t.join(10)
    s.close()


def test_websocket_refusals(websockets):
    async def handler(ws):
        pass

    async def refuse(path, headers):
        return http.HTTPStatus.NOT_FOUND, [], b"nothing here"
    w = websockets(handler, process_request=refuse)
    out = script("""
  for _, url in ipairs { 'ws://127.0.0.1:%d', 'http://127.0.0.1:1', 'ws://127.0.0.1:1', 'nonsense', 'ws://a b' } do
    print(select(2, try(kumo.http.connect_websocket, url)))
  end
  print(try(kumo.http.connect_websocket))
""" % w.port)
    assert re.fullmatch(r"connecting to ws://127.0.0.1:\d+: HTTP error: 404 Not Found", out[0])
    assert "expected a URL that begins with ws:// or wss://" in out[1]
    assert "refused" in out[2].lower()
    assert "nonsense" in out[3] and "a b" in out[4]
    assert out[5].startswith("false\tbad argument #1")


def test_websocket_over_tls(websockets, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(tmp_path / "k"), "-out", str(tmp_path / "c"), "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "c", tmp_path / "k")

    async def handler(ws):
        await ws.send("secret")
    w = websockets(handler, ssl=tls)
    body = "print(try(function() return kumo.http.connect_websocket('wss://localhost:%d'):recv() end))" % w.port
    assert script(body, env={"SSL_CERT_FILE": str(tmp_path / "c")}) == ["true\tsecret"]
    assert script(body)[0].startswith("false\t")    # nobody vouches for it


# --- transfers -----------------------------------------------------------------------------------------------------------

XFER = r'''
kumo.on('requeue_message', function(msg, response, context, increment, delay)
  if msg:num_attempts() >= 1 then
    kumo.xfer.xfer_in_requeue(msg, OTHER, context, increment, delay, 'try there')
    kumo.xfer.xfer_in_requeue(msg, OTHER .. '/', context, increment, delay, 'is on its way already')
  end
end)
kumo.on('smtp_server_message_received', function(msg)
  msg:set_meta('tenant', 't')
  if msg:recipient().user == 'direct' then
    kumo.xfer.xfer(msg, OTHER, 'not ours')
    msg:set_meta('seen', kumo.xfer.get_xfer_target(msg))
  elseif msg:recipient().user == 'stays' then
    assert(kumo.xfer.get_xfer_target(msg) == nil)
    kumo.xfer.cancel_xfer(msg, 'nothing to cancel')
    kumo.xfer.xfer(msg, 'http://127.0.0.1:1')
    kumo.xfer.cancel_xfer(msg, 'changed my mind')
    assert(kumo.xfer.get_xfer_target(msg) == nil and msg:queue_name() == 't@a.example')
    assert(not pcall(kumo.xfer.xfer, msg, 'nonsense'))
  end
end)
'''


def test_transfers_by_policy(kumod):
    there = Sink()
    here = Sink(lambda verb, line: "451 4.3.0 not now" if verb == "MAIL" else None)
    try:
        b = kumod("QUEUE = { retry_interval = '1s' }\n" + BASE, sink_port=there.port)
        a = kumod("QUEUE = { retry_interval = '1s' }\nOTHER = 'http://127.0.0.1:%d'\n" % b.ports["http"] + BASE + XFER, sink_port=here.port)
        c = a.client()
        for who in ("direct", "stays"):
            assert c.mail(rcpt=who + "@a.example").startswith("250")
        assert there.wait(2), (a.stderr(), b.stderr())
        c.close()
        assert sorted(there.rcpts) == ["direct@a.example", "stays@a.example"]
        assert b.wait_records("Delivery", 2)
        assert a.stop() == 0 and b.stop() == 0
    finally:
        there.close()
        here.close()
    url = "http://127.0.0.1:%d/" % b.ports["http"]
    out = {r["recipient"]: [x for x in a.records() if x["recipient"] == r["recipient"]] for r in a.records() if r["type"] == "Reception"}
    assert [r["type"] for r in out["direct@a.example"]] == ["AdminRebind", "Reception", "XferOut"]
    assert [r["response"]["content"] for r in out["direct@a.example"] if r["type"] == "AdminRebind"] == ["Rebound from t@a.example to %s.xfer.kumomta.internal: not ours" % url]
    stays = [(r["type"], r["response"]["content"]) for r in out["stays@a.example"] if r["type"] == "AdminRebind"]
    assert stays == [("AdminRebind", "Rebound from http://127.0.0.1:1/.xfer.kumomta.internal to t@a.example: changed my mind"),
                     ("AdminRebind", "Rebound from t@a.example to %s.xfer.kumomta.internal: try there" % url)]
    into = {r["recipient"]: r for r in b.records() if r["type"] == "XferIn"}
    assert into["direct@a.example"]["queue"] == into["stays@a.example"]["queue"] == "t@a.example"
    assert (into["direct@a.example"]["num_attempts"], into["stays@a.example"]["num_attempts"]) == (0, 2)


# --- reports -------------------------------------------------------------------------------------------------------------

REPORT = r'''
local params = { include_original_message = 'HeadersOnly', enable_bounce = true, reporting_mta = { mta_type = 'dns', name = 'mta.example' } }
require('policy-extras.log_hooks'):new_disposition_hook {
  name = 'ndr',
  hook = function(msg, record)
    local report = kumo.generate_rfc3464_message(params, msg, record)
    if report then
      assert(tostring(report:sender()) == '' and tostring(report:recipient()) == 's@a.example')
      kumo.inject_message(report)
    end
  end,
}
kumo.on('smtp_server_message_received', function(msg) end)
'''


def test_a_bounce_is_reported_to_the_sender(kumod, sink):
    s = sink(lambda verb, line: "550-5.7.1 no\n550 5.7.1 thanks" if verb == "RCPT" and "bad@" in line else None)
    k = kumod(BASE + REPORT, sink_port=s.port)
    assert k.client().mail(rcpt="bad@b.example", sender="s@a.example", body=b"Subject: original\r\n\r\nsecret\r\n").startswith("250")
    assert s.wait(1), k.stderr()
    assert k.stop() == 0
    m = email.message_from_bytes(s.messages[0])
    assert (m["To"], m["From"], m["Subject"]) == ("s@a.example", "Mail Delivery Subsystem <mailer-daemon@mta.example>", "Returned mail")
    assert (m.get_content_type(), m.get_param("report-type")) == ("multipart/report", "delivery-status")
    text, status, original = m.get_payload()
    assert "Response: 550 5.7.1 no thanks" in text.get_payload()
    per_message, per_recipient = status.get_payload()
    assert per_message["Reporting-MTA"] == "dns; mta.example"
    assert (per_recipient["Final-Recipient"], per_recipient["Action"], per_recipient["Status"]) == ("rfc822;bad@b.example", "failed", "5.7.1 no thanks")
    assert per_recipient["Diagnostic-Code"] == "smtp; 550 5.7.1 no thanks"
    assert original.get_content_type() == "text/rfc822-headers" and "original" in original.get_payload() and "secret" not in original.get_payload()


def test_report_options():
    out = script("""
  local p = { include_original_message = 'No', enable_bounce = true, reporting_mta = { mta_type = 'dns', name = 'm.example' } }
  local function with(change, record)
    local q = {}
    for k, v in pairs(p) do q[k] = v end
    for k, v in pairs(change) do q[k] = v end
    print(try(kumo.generate_rfc3464_message, q, nil, record or { type = 'Delivery', sender = 's@a.example' }))
  end
  with({})
  with({ include_original_message = 'Some' })
  with({ enable_bouncer = true })
  with({ reporting_mta = { mta_type = 'dns', name = 'x> Bcc: a@b.c' } })
  with({}, { type = 'Bounce', delivery_protocol = 'ESMTP', sender = 's@a.example' })
""")
    assert out[0] == "true\tnil"
    assert "`Some`" in out[1] and "FullContent" in out[1]
    assert "enable_bouncer" in out[2] and "did you mean `enable_bounce`" in out[2]
    assert "reporting_mta.name" in out[3]
    assert "log record: `response`" in out[4]
