"""Where a recipient could fall through: between two nodes, between a queue and the end of the program, before its queue has a configuration."""
import collections, json, os, re, threading
from kumotest import BASE, wait_for

FINAL = {"Delivery", "Bounce", "Expiration", "AdminBounce", "XferOut"}


def test_transferred_messages_never_share_an_id(kumod, sink):
    """They keep the time of their ids, which one node makes many of in a microsecond, and other nodes at the same time."""
    s = sink()
    there = kumod(BASE, sink_port=s.port)
    here = kumod("PATH = { max_ready = 10000 }\n" + BASE + """
kumo.on('http_message_generated', function(msg) kumo.xfer.xfer(msg, 'http://127.0.0.1:%d') end)""" % there.ports["http"], sink_port=s.port)
    rcpts = [{"email": "r%d@a.example" % i} for i in range(2000)]
    status, answer = here.http("POST", "/api/inject/v1", {"envelope_sender": "s@from.example", "content": "Subject: x\n\nbody\n", "recipients": rcpts})
    assert status == 200 and json.loads(answer)["success_count"] == len(rcpts)
    assert s.wait(len(rcpts), 60)
    assert here.stop() == there.stop() == 0
    ids = collections.Counter(r["id"] for r in there.records() if r["type"] == "XferIn")
    assert sum(ids.values()) == len(rcpts) and set(ids.values()) == {1}
    stamps = {re.search("new id is (.*)", r["response"]["content"])[1]: r["id"] for r in here.records() if r["type"] == "XferOut"}
    assert set(stamps) == set(ids) and all(new[:16] == old[:16] and new != old for new, old in stamps.items())


def test_an_order_under_way_when_stopping_leaves_no_message_without_a_record(kumod, sink):
    """What an administrator's bounce has not reached yet waits in the spool; records after the logs' end would be lost."""
    k = kumod("QUEUE = { retry_interval = '1h', max_age = '10h' }; PATH = { max_ready = 1 }\n" + BASE, sink_port=1)
    n = 20000
    for i in range(0, n, 2000):
        status, answer = k.http("POST", "/api/inject/v1", {"envelope_sender": "s@from.example", "content": "Subject: x\n\nbody\n", "recipients": [{"email": "r%d@a.example" % j} for j in range(i, i + 2000)]})
        assert status == 200 and json.loads(answer)["success_count"] == 2000
    assert k.http("POST", "/api/admin/bounce/v1", {"reason": "test", "duration": "1h"})[0] == 200
    assert k.stop() == 0
    ended = collections.Counter(r["recipient"] for r in k.records() if r["type"] in FINAL)
    k.start()
    found = re.search(r"(\d+) messages found", k.stderr().rsplit("listener on", 1)[-1] if "messages found" in k.stderr() else "")
    found = int(found[1]) if found else 0
    assert set(ended.values()) <= {1}
    assert len(ended) + found == n, (len(ended), found)
    assert found > 0, "the order was quicker than the stop: nothing was tested"


FAILING = BASE.replace("local q = {", "local f = io.open(DIR .. '/broken')\n  if f then f:close() error 'the database is away' end\n  local q = {")


def test_messages_whose_queue_has_no_configuration_at_start_are_tried_again(kumod, sink):
    s = sink()
    k = kumod("QUEUE = { retry_interval = '1h', max_age = '10h' }\n" + FAILING, sink_port=1)
    for i in range(5):
        assert k.client().mail("r%d@a.example" % i).startswith("250")
    assert k.wait_records("TransientFailure", 5)
    assert k.stop() == 0
    open(k.dir + "/broken", "w").close()
    k.env["SINK_PORT"] = str(s.port)
    k.start()
    assert "5 messages found" in k.stderr() and "the database is away" in k.stderr()
    import os
    os.remove(k.dir + "/broken")
    assert s.wait(5, 20), k.stderr()
    assert k.stop() == 0
    assert sorted(r["recipient"] for r in k.records() if r["type"] in FINAL) == ["r%d@a.example" % i for i in range(5)]


def test_deferred_generation_loses_no_recipient(kumod, sink):
    """The client was told of success before there was a message: those that fail for now are tried again, and only those; others have a Bounce record."""
    s = sink()
    k = kumod(BASE + r"""
kumo.on('http_message_generated', function(msg)
  local user = msg:recipient().user
  if user == 'never' then kumo.reject(550, 'not this one') end
  local f = io.open(DIR .. '/working')
  if not f and user == 'later' then error 'on purpose' end
end)""", sink_port=s.port)
    rcpts = ["first@a.example", "never@a.example", "later@a.example", "last@b.example"]
    status, _ = k.http("POST", "/api/inject/v1", {"envelope_sender": "s@from.example", "content": "Subject: x\n\nbody\n", "deferred_generation": True, "recipients": [{"email": r} for r in rcpts]})
    assert status == 200 and s.wait(2)
    assert [r for r in k.wait_records("TransientFailure") if "1 recipients have no message yet" in r["response"]["content"] and "on purpose" in r["response"]["content"]]
    open(k.dir + "/working", "w").close()
    assert k.http("POST", "/api/admin/rebind/v1", {"reason": "test", "data": {}, "always_flush": True})[0] == 200
    assert s.wait(3)
    assert k.stop() == 0
    ended = collections.Counter((r["recipient"], r["type"]) for r in k.records() if r["type"] in FINAL)
    assert ended == {("first@a.example", "Delivery"): 1, ("last@b.example", "Delivery"): 1, ("later@a.example", "Delivery"): 1, ("never@a.example", "Bounce"): 1, ("", "Delivery"): 1}
    assert sorted(s.rcpts) == sorted(r for r in rcpts if r != "never@a.example")


def test_an_injection_under_way_when_stopping_is_finished(kumod, sink):
    """What was counted as success has a Reception record and is in the spool, also when it was in memory only."""
    k = kumod("QUEUE = { retry_interval = '1h', max_age = '10h' }\n" + BASE, sink_port=1)
    answers, n = [], 8000
    request = {"envelope_sender": "s@from.example", "content": "Subject: x\n\nbody\n", "deferred_spool": True, "recipients": [{"email": "r%d@a.example" % i} for i in range(n)]}
    t = threading.Thread(target=lambda: answers.append(k.http("POST", "/api/inject/v1", request)))
    t.start()
    assert wait_for(lambda: k.metric("total_messages_received", service="http_listener"))
    assert k.stop() == 0
    t.join()
    success = json.loads(answers[0][1])["success_count"]
    types = collections.Counter(r["type"] for r in k.records())
    k.start()
    found = int(re.search(r"(\d+) messages found", k.stderr().rsplit("listener on", 1)[1])[1])
    assert types["Reception"] == success == found > 0 and not FINAL & set(types)
