"""Log records as webhooks (docs/userguide/operation/webhooks): the JSON form, a constructor of one's own, batches; a receiver that is down for a while."""
import http.server, json
import pytest
from kumotest import BASE, http_server, wait_for


@pytest.fixture
def receiver():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = self.server.status.get(self.path, [200]).pop(0) if self.server.status.get(self.path) else 200
            self.server.got.append((self.path, status, self.headers.get("Content-Type"), json.loads(body)))
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *a):
            pass
    with http_server(Handler) as s:
        s.got, s.status = [], {}
        yield s


POLICY = r'''
local log_hooks = require 'policy-extras.log_hooks'
local function connection(path, batch)
  return function(domain, tenant, campaign)
    local c, client = {}, kumo.http.build_client {}
    local function post(body)
      local r = client:post(URL .. path):header('Content-Type', 'application/json'):body(body):send()
      local text = string.format('%d %s: %s', r:status_code(), r:status_reason(), r:text())
      if r:status_is_success() then return text end
      kumo.reject(400, text)
    end
    if batch then
      function c:send_batch(messages)
        local all = {}
        for _, m in ipairs(messages) do table.insert(all, m:get_meta 'log_record') end
        return post(kumo.serde.json_encode(all))
      end
    else
      function c:send(m) return post(m:get_data()) end
    end
    function c:close() client:close() end
    return c
  end
end
log_hooks:new_json { name = 'json', url = URL .. '/json', log_parameters = { headers = { 'Subject', 'X-Customer-ID' }, meta = { 'tenant' } } }
log_hooks:new { name = 'own', queue_config = { retry_interval = '1s', max_retry_interval = '1s' }, constructor = connection('/own'),
  log_parameters = { per_record = { Reception = { enable = false }, Any = { template = '{"only":"{{ type }}","to":"{{ recipient }}"}' } } } }
log_hooks:new { name = 'batch', batch_size = 100, constructor = connection('/batch', true) }
'''


def test_webhooks(kumod, sink, receiver):
    receiver.status["/own"] = [503]
    s = sink(lambda v, l: "550 5.1.1 no" if v == "RCPT" and "no@" in l else None)
    text = BASE.replace("local p = {", "if domain:match '%%.log_hook$' then return kumo.make_egress_path {} end\n  local p = {").replace("kumo.on('get_egress_path_config', function()", "kumo.on('get_egress_path_config', function(domain)")
    at = text.index("-- OPTIONS") if "-- OPTIONS" in text else text.index("kumo.on('init'")
    k = kumod(text[:at] + "local URL = 'http://127.0.0.1:%d'\n" % receiver.server_port + POLICY + text[at:] + r'''
kumo.on('smtp_server_message_received', function(msg) msg:set_meta('tenant', 'acme') end)
''', sink_port=s.port)
    c = k.client()
    assert c.mail("yes@a.example", b"Subject: hello\r\nX-Customer-ID: 7\r\n\r\nbody\r\n").startswith("250")
    assert c.mail("no@a.example").startswith("250")
    assert c.cmd("MAIL FROM:<nonsense").startswith("501")
    want = {("Reception", "yes@a.example"), ("Reception", "no@a.example"), ("Delivery", "yes@a.example"), ("Bounce", "no@a.example"), ("Rejection", "")}

    def got(path):
        return [x for x in list(receiver.got) if x[0] == path and x[1] == 200]
    assert wait_for(lambda: {(x[3]["type"], x[3]["recipient"]) for x in got("/json")} == want), receiver.got
    assert wait_for(lambda: {(r["type"], r["recipient"]) for x in got("/batch") for r in x[3]} == want), receiver.got
    assert wait_for(lambda: {(x[3]["only"], x[3]["to"]) for x in got("/own")} == {w for w in want if w[0] != "Reception"}), receiver.got
    r = [x[3] for x in got("/json") if x[3]["type"] == "Delivery"][0]
    assert (r["headers"], r["meta"], r["queue"]) == ({"Subject": "hello", "X-Customer-ID": "7"}, {"tenant": "acme"}, "acme@a.example")
    assert {x[2] for x in receiver.got} == {"application/json"}
    assert [x for x in receiver.got if x[1] == 503] and not [x for x in receiver.got if "log_hook" in json.dumps(x[3])]    # no records of records
    assert k.stop() == 0
    lines = [(x["type"], x["queue"], x["delivery_protocol"]) for x in k.records() if x["reception_protocol"] == "LogRecord"]
    assert lines.count(("Delivery", "own.log_hook", "Lua")) == 3 and ("TransientFailure", "own.log_hook", "Lua") in lines
