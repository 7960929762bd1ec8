"""How many connections at a time, how often, how long: limits and rates of paths, queues and sources."""
import re, time
import pytest
from egress import POOL, SOURCES, run, send, transient
from kumotest import BASE, wait_for


def slow_sink(sink):
    return sink(lambda verb, line: time.sleep(0.1) if verb == "MAIL" else None)


@pytest.mark.parametrize("limit, most", [("connection_limit = 2", 2), ("connection_limit = 30", 30), ("connection_limit = 30, additional_connection_limits = { ['x'] = 2, ['y'] = 20 }", 2)])
def test_connections_at_a_time(kumod, sink, limit, most):
    s = slow_sink(sink)
    k = run(kumod, s.port, "PATH = { %s }" % limit)
    send(k, 60)     # few messages do not deserve the last connections
    assert s.wait(60)
    assert s.most_open == most if most < 20 else s.most_open > 4


def test_additional_connection_limits_cut_across(kumod, sink):
    """Two sites, one name: together no more than the limit."""
    s = slow_sink(sink)
    k = run(kumod, s.port, "PATH = { connection_limit = 10, additional_connection_limits = { all = 1 }, idle_timeout = '0s' }")
    send(k, 4)
    send(k, 4, "r%d@b.example")
    assert s.wait(8)
    assert s.most_open == 1


RATES = {"max_message_rate = '2/s,max_burst=1'": None, "additional_message_rate_throttles = { all = '2/s,max_burst=1' }": None,
         "max_deliveries_per_connection = 1, connection_limit = 1, max_connection_rate = '2/s,max_burst=1'": None}




@pytest.mark.parametrize("rate", RATES)
def test_rates(kumod, sink, rate):
    """Eight at two a second with a burst take more than two seconds, and less than without progress."""
    s = sink()
    k = run(kumod, s.port, "PATH = { idle_timeout = '5s', %s }" % rate)
    begin = time.time()
    send(k, 8)
    assert s.wait(8)
    assert 2 <= time.time() - begin < 10
    assert not [r for r in k.records() if r["type"] == "Delayed"]


@pytest.mark.parametrize("rate, why", [("max_message_rate", "MessageRateThrottle"), ("max_deliveries_per_connection = 1, connection_limit = 1, max_connection_rate", "ConnectionRateThrottle")])
def test_a_rate_beyond_idle_timeout_delays(kumod, sink, rate, why):
    """When the next may go only after idle_timeout, the messages go back and say when they are due."""
    s = sink()
    k = run(kumod, s.port, "PATH = { idle_timeout = '1s', %s = '1/h,max_burst=0' }; QUEUE = { max_age = '7 days' }" % rate)
    send(k, 4)
    got = k.wait_records("Delayed", 3)
    assert len(got) == 3 and all(why in r["response"]["content"] for r in got), got
    assert len(s.messages) == 1


def test_queue_max_message_rate(kumod, sink):
    s = sink()
    k = run(kumod, s.port, "QUEUE = { max_message_rate = '1/h,max_burst=0', max_age = '7 days' }")
    send(k, 3)
    got = k.wait_records("Delayed", 2)
    assert len(got) == 2 and all("MessageRateThrottle" in r["response"]["content"] for r in got), got
    assert len(s.messages) == 1


def test_additional_message_rate_throttles_cut_across(kumod, sink):
    s = sink()
    k = run(kumod, s.port, "PATH = { additional_message_rate_throttles = { all = '2/s,max_burst=1' }, idle_timeout = '10s' }")
    c = k.client()
    t = time.time()
    for i in range(3):
        for d in "ab":
            assert c.mail("r%d@%s.example" % (i, d)).startswith("250")
    assert s.wait(6) and time.time() - t > 2


@pytest.mark.parametrize("rate", ["source_selection_rate = source == 's1' and '1/h,max_burst=0' or nil", "additional_source_selection_rates = source == 's1' and { ['sel-s1'] = '1/h,max_burst=0' } or nil"])
def test_source_selection_rate(kumod, sink, rate):
    """A source that was chosen often enough is passed over; without another the message waits."""
    s = sink()
    policy = BASE.replace("function()\n  local p = {", "function(domain, source)\n  local p = { %s," % rate) + SOURCES
    k = run(kumod, s.port, POOL, policy)
    send(k, 6)
    assert s.wait(6)
    used = [r["egress_source"] for r in k.wait_records("Delivery", 6)]
    assert sorted(used) == ["s1"] + ["s2"] * 5


def test_no_eligible_source(kumod, sink):
    s = sink()
    k = run(kumod, s.port, POOL + "POOL_ENTRIES = function() return { { name = 's1' } } end\nPATH = { source_selection_rate = '1/h,max_burst=0' }", BASE + SOURCES)
    send(k, 2)
    assert any("no sources for a.example pool=`p` are eligible for selection at this time" in t for t in transient(k))
    assert len(s.messages) == 1


def test_max_ready_and_reap(kumod, sink):
    """No more than max_ready are ready; an empty queue goes after reap_interval."""
    state = {"hang": True}
    s = sink(lambda verb, line: "hang" if verb == "CONNECT" and state["hang"] else None)
    k = run(kumod, s.port, "PATH = { max_ready = 3, connection_limit = 1 }; QUEUE = { reap_interval = '1s' }")
    send(k, 8)
    assert wait_for(lambda: k.metric("ready_full")), k.stderr()
    assert k.metric("ready_count", service="smtp_client") <= 3
    assert len([r for r in k.wait_records("Delayed", 4) if "ReadyQueueWasFull" in r["response"]["content"]]) >= 4
    k.p.kill()
    k = run(kumod, s.port, "QUEUE = { reap_interval = '1s' }")
    state["hang"] = False
    send(k)
    assert s.wait(1)
    assert wait_for(lambda: k.metric("scheduled_count", queue="a.example") is None, 10)


def test_max_retry_interval(kumod, sink):
    """The interval doubles up to it: four attempts within seconds instead of ever more."""
    s = sink(lambda verb, line: "451 4.3.0 no" if verb == "MAIL" else None)
    k = run(kumod, s.port, "QUEUE = { retry_interval = '1s', max_retry_interval = '1s' }")
    send(k)
    begin = time.time()
    assert len(k.wait_records("TransientFailure", 6, 15)) >= 6
    assert time.time() - begin < 13


LUA = BASE.replace("local q = {", "local q = { protocol = { custom_lua = { constructor = 'make.conn' } },") + r'''
kumo.on('make.conn', function()
  local c = {}
  function c:send(m) kumo.sleep(300) return 'ok' end
  return c
end)
'''


def test_watchdog(kumod, sink):
    """A delivery that makes no progress is ended: a Delayed record names it, the message waits for another attempt."""
    k = run(kumod, 1, "PATH = { dispatcher_progress_watchdog_timeout = '2s' }", LUA)
    send(k)
    r = k.wait_records("Delayed", 1, 20)[0]
    assert r["response"]["code"] == 451 and r["response"]["enhanced_code"] == {"class": 4, "subject": 4, "detail": 1}
    m = re.match(r'dispatcher watchdog aborted task; phase=DeliveringMessage detail="?[^ ].* session=(\S+) age=\d', r["response"]["content"])
    assert m and m[1] == r["session_id"], r
    assert k.metric("dispatcher_watchdog_aborted_total") >= 1
    assert k.metric("scheduled_count", queue="a.example") == 1 or k.metric("ready_count", service="lua") is not None
    k.p.kill()
