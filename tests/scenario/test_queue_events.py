"""Events on a message's way through the queues, with their arguments and what their answers do: requeue_message, smtp_client_rewrite_delivery_status,
throttle_insert_ready_queue, http_message_generated; schedules and retries."""
import datetime, json, time
import pytest
from kumotest import BASE, wait_for

NOTE = r'''
local function note(...)
  local t = {}
  for i = 1, select('#', ...) do t[i] = tostring((select(i, ...))) end
  local f = io.open(DIR .. '/seen', 'a')
  f:write(table.concat(t, ' ') .. '\n')
  f:close()
end
'''
FAST = "QUEUE = { retry_interval = '1s', max_retry_interval = '1s' }\n"


def seen(k, first):
    try:
        return [l for l in open(k.dir + "/seen").read().splitlines() if l.startswith(first + " ")]
    except OSError:
        return []


def when(r):
    return datetime.datetime.fromisoformat(r["event_time"].replace("Z", "+00:00")).timestamp()


def test_requeue_message(kumod, sink):
    moves = []
    s = sink(lambda v, l: "451 4.7.1 later" if v == "RCPT" and not ("move@" in l and (moves.append(l) or len(moves) > 2)) else None)
    k = kumod(FAST + BASE + NOTE + r'''
kumo.on('requeue_message', function(msg, response, why, increment, delay)
  note('first', msg:recipient().user, response, kumo.serde.json_encode(why), increment, delay, msg:num_attempts(), msg:queue_name())
  local u = msg:recipient().user
  if u == 'reject' then kumo.reject(451, 'enough') end
  if u == 'move' and msg:num_attempts() == 1 then msg:set_meta('routing_domain', 'b.example') end
  if u == 'broken' and msg:num_attempts() == 0 then error 'on purpose' end
  if u == 'nil' then return nil end
end)
kumo.on('requeue_message', function(msg) note('second', msg:recipient().user) end)
''', sink_port=s.port)
    c = k.client()
    for u in ("reject", "move", "broken", "nil"):
        assert c.mail(u + "@a.example").startswith("250")
    assert wait_for(lambda: s.messages and [l for l in seen(k, "second") if "broken" in l] and len([l for l in seen(k, "first") if " nil 451" in l]) > 1)
    arguments = ' 451 4.7.1 later ["LoggedTransientFailure"] true nil %d a.example'
    first, second = seen(k, "first"), seen(k, "second")
    for u in ("move", "broken", "nil"):
        assert [l for l in first if l.split()[1] == u][:2] == ["first " + u + arguments % 0, "first " + u + arguments % 1]
    assert "second move" in second and "second nil" not in second and "second reject" not in second
    r = {(x["recipient"].split("@")[0], x["type"]): x for x in k.wait_records("Delivery") and k.records()}
    assert r["move", "Delivery"]["queue"] == "a.example!b.example" and r["move", "Delivery"]["num_attempts"] == 2
    assert when(r["move", "Delivery"]) - when(r["move", "TransientFailure"]) < 0.9       # at once
    b = r["reject", "Bounce"]
    assert (b["response"]["code"], b["response"]["content"], b["site"], b["num_attempts"]) == (451, "enough", "", 0)
    assert "on purpose" in k.stderr()


def test_rewritten_delivery_status(kumod, sink):
    """Whatever is refused is shown, as one line; the code that is returned holds."""
    def reply(verb, line):
        if verb == "MAIL" and "mail@" in line:
            return "450-4.1.8 first\n450 4.1.8 second"
        if verb == "RCPT" and "rcpt@" in line:
            return "550 5.1.1 unknown"
        if verb == "RCPT" and "same@" in line:
            return "550 5.1.1 the same"
        if verb == "RCPT" and "broken@" in line:
            return "550 5.1.1 broken"
    s = sink(reply)
    k = kumod("QUEUE = { retry_interval = '1m' }\n" + BASE + NOTE + r'''
kumo.on('smtp_server_message_received', function(msg) msg:set_meta('tenant', 't') msg:set_meta('campaign', 'c') msg:set_meta('routing_domain', 'b.example') end)
kumo.on('smtp_client_rewrite_delivery_status', function(response, domain, tenant, campaign, routing)
  note('rewrite', response, domain, tenant, campaign, routing)
  if response:find 'first' then return 550 end
  if response:find 'unknown' then return 450 end
  if response:find 'same' then return 550 end
  if response:find 'broken' then error 'on purpose' end
end)
''', sink_port=s.port)
    c = k.client()
    assert c.mail("r@a.example", sender="mail@from.example").startswith("250")
    for u in ("rcpt", "same", "broken", "ok"):
        assert c.mail(u + "@a.example").startswith("250")
    assert k.wait_records("Delivery") and k.wait_records("Bounce", 3) and k.wait_records("TransientFailure")
    assert sorted(seen(k, "rewrite")) == ["rewrite %s a.example t c b.example" % x for x in
                                          ("450 4.1.8 first second", "550 5.1.1 broken", "550 5.1.1 the same", "550 5.1.1 unknown")]
    r = {x["recipient"]: (x["type"], x["response"]["code"], x["response"]["content"]) for x in k.records() if x["type"] != "Reception"}
    assert r["r@a.example"] == ("Bounce", 550, "first second (kumomta: status was rewritten from 450 -> 550)")
    assert r["rcpt@a.example"] == ("TransientFailure", 450, "unknown (kumomta: status was rewritten from 550 -> 450)")
    assert r["same@a.example"] == ("Bounce", 550, "the same") and r["broken@a.example"] == ("Bounce", 550, "broken")


def test_throttle_insert_ready_queue(kumod, sink):
    s = sink()
    k = kumod(BASE + r'''
kumo.on('throttle_insert_ready_queue', function(msg) kumo.make_throttle('slow', '1/s,max_burst=0'):delay_message_if_throttled(msg) end)
''', sink_port=s.port)
    c = k.client()
    c.mail("r1@a.example"), c.mail("r2@a.example")
    d = k.wait_records("Delivery", 2)
    assert len(d) == 2 and when(d[1]) - when(d[0]) > 0.8
    w = k.wait_records("Delayed")[0]
    assert w["response"]["code"] == 400 and w["response"]["content"].startswith("Context: Received, ThrottledByThrottleInsertReadyQueue. Next due in ")
    assert d[1]["num_attempts"] == 0


def test_http_message_generated(kumod, sink):
    s = sink()
    k = kumod(BASE + NOTE + r'''
kumo.on('http_message_generated', function(msg, auth)
  note('http', msg:recipient().user, msg:get_meta 'http_auth', msg:get_meta 'reception_protocol', kumo.serde.json_encode(auth.groups))
  if msg:recipient().user == 'no' then kumo.reject(550, 'not you') end
  msg:set_meta('tenant', 'acme')
end)
''', sink_port=s.port)
    status, text = k.http("POST", "/api/inject/v1", {"envelope_sender": "s@from.example", "content": "Subject: x\n\nbody",
                                                     "recipients": [{"email": "yes@a.example"}, {"email": "no@a.example"}]})
    assert (status, json.loads(text)) == (200, {"success_count": 1, "fail_count": 1, "failed_recipients": ["no@a.example"], "errors": ["no@a.example: 550 not you"]})
    assert [r["queue"] for r in k.wait_records("Delivery")] == ["acme@a.example"]
    assert seen(k, "http") == ['http %s 127.0.0.1 HTTP ["kumomta:http-listener-trusted-ip"]' % u for u in ("yes", "no")]


def test_schedules(kumod, sink):
    s = sink(lambda v, l: "451 4.7.1 later" if v == "RCPT" and "expires@" in l else None)
    k = kumod(FAST + BASE + r'''
local function at(seconds) return os.date('!%Y-%m-%dT%H:%M:%SZ', os.time() + seconds) end
kumo.on('smtp_server_message_received', function(msg)
  local u = msg:recipient().user
  if u == 'first' then msg:set_scheduling { first_attempt = at(3) } end
  if u == 'expires' then msg:set_scheduling { expires = at(3) } end
  if u == 'open' then msg:set_scheduling { dow = 'Mon,Tue,Wed,Thu,Fri,Sat,Sun', tz = 'UTC', start = '00:00:00', ['end'] = '23:59:59' } end
  if u == 'closed' then
    local h = (tonumber(os.date '!%H') + 12) % 23
    msg:set_scheduling { dow = 'Mon,Tue,Wed,Thu,Fri,Sat,Sun', tz = 'UTC', start = string.format('%02d:00:00', h), ['end'] = string.format('%02d:59:00', h) }
  end
end)
''', sink_port=s.port)
    t = time.time()
    c = k.client()
    for u in ("first", "expires", "open", "closed"):
        assert c.mail(u + "@a.example").startswith("250")
    assert k.wait_records("Delivery", 2) and k.wait_records("Expiration")
    r = {(x["recipient"].split("@")[0], x["type"]): x for x in k.records()}
    assert 1.5 < when(r["first", "Delivery"]) - t < 4 and when(r["open", "Delivery"]) - t < 1
    assert r["first", "Delayed"]["response"]["content"].startswith("Context: Received, ScheduledForLater. Next due in ")
    assert "which exceeds the expiry time" in r["expires", "Expiration"]["response"]["content"] and when(r["expires", "Expiration"]) - t < 4
    assert ("closed", "Delivery") not in r and ("closed", "Delayed") in r


def scheduled(k, queue, n):
    messages = json.loads(k.http("GET", "/api/admin/inspect-sched-q/v1?queue_name=%s" % queue)[1])["messages"]
    return messages if len(messages) == n and all(m["message"].get("due") for m in messages) else None


@pytest.mark.parametrize("interval, seconds, jitter", [("20m", 1200, 30), ("2h", 7200, 30), ("4m", 240, 6)])
def test_the_first_retry(kumod, sink, interval, seconds, jitter):
    """retry_interval with jitter of 1/40 either way, of 30 seconds at most."""
    s = sink(lambda verb, line: "451 4.3.0 no" if verb == "MAIL" else None)
    k = kumod("QUEUE = { retry_interval = '%s', max_age = '1 day' }\n" % interval + BASE, sink_port=s.port)
    c, n = k.client(), 40
    for i in range(n):
        assert c.mail("r%d@a.example" % i).startswith("250")
    failed = {r["id"]: datetime.datetime.fromisoformat(r["event_time"]).timestamp() for r in k.wait_records("TransientFailure", n)}
    due = {m["id"]: datetime.datetime.fromisoformat(m["message"]["due"]).timestamp() for m in wait_for(lambda: scheduled(k, "a.example", n))}
    off = [due[i] - failed[i] - seconds for i in failed]
    assert len(off) == n and min(off) >= -jitter - 1 and max(off) <= jitter + 1 and max(off) - min(off) > jitter, off
