"""deferred_spool and deferred_queue: what is stored when, what clients hear, which records are written, and one final record for each message."""
import os, signal
import pytest
from kumotest import BASE, wait_for

FINAL = {"Delivery", "Bounce", "Expiration", "AdminBounce", "XferOut"}


def spooled(k):
    return [f for _, _, fs in os.walk(k.dir + "/spool/meta/data") for f in fs]


def types(k, rcpt="r@a.example"):
    return [r["type"] for r in k.records() if r["recipient"] == rcpt]


def test_deferred_spool_writes_at_the_first_failure(kumod, sink):
    """Not before: a message that goes at once never meets the disk."""
    state = {"mail": None}
    s = sink(lambda verb, line: state["mail"] if verb == "MAIL" else None)
    k = kumod("LISTENER = { deferred_spool = true }; SPOOL = { kind = 'LocalDisk' }\n" + BASE, sink_port=s.port)
    assert k.client().mail("first@a.example").startswith("250") and s.wait(1)
    assert spooled(k) == []
    state["mail"] = "451 4.3.0 not now"
    assert k.client().mail().startswith("250")
    assert wait_for(lambda: len(spooled(k)) == 1)
    state["mail"] = None
    assert s.wait(2)
    assert wait_for(lambda: spooled(k) == [])
    assert k.stop() == 0
    assert types(k, "first@a.example") == ["Reception", "Delivery"]
    assert types(k)[0] == "Reception" and types(k)[-1] == "Delivery" and set(types(k)[1:-1]) == {"TransientFailure"}


@pytest.mark.parametrize("kind", ["RocksDB", "LocalDisk"])
def test_deferred_spool_is_saved_when_stopping(kumod, sink, kind):
    """What is in memory only, in a ready queue or in hand, is written before the end; what a kill takes is gone, as documented."""
    state = {"hang": True}
    s = sink(lambda verb, line: "hang" if verb == "CONNECT" and state["hang"] else None)
    k = kumod("PATH = { connection_limit = 1, system_shutdown_timeout = '0s' }; LISTENER = { deferred_spool = true }; SPOOL = { kind = '%s' }\n" % kind + BASE, sink_port=s.port)
    wanted = {"r%d@a.example" % i for i in range(10)}
    for r in sorted(wanted):
        assert k.client().mail(r).startswith("250")
    assert k.stop() == 0
    state["hang"] = False
    k.start()
    assert wait_for(lambda: set(s.rcpts) == wanted), (s.rcpts, k.stderr())
    state["hang"] = True
    assert k.stop() == 0
    assert sorted(r["recipient"] for r in k.records() if r["type"] in FINAL) == sorted(wanted)
    k.start()
    assert k.client().mail("gone@a.example").startswith("250")
    k.p.send_signal(signal.SIGKILL)
    k.p.wait()
    k.start()
    assert "messages found" not in k.stderr().rsplit("listener on", 1)[1]


DEFERRED = "LISTENER = { deferred_queue = true }\n" + BASE + r'''
kumo.on('smtp_server_message_received', function() error 'not to be called' end)
kumo.on('smtp_server_message_deferred_inject', function(msg)
  local user = msg:recipient().user
  if user == 'bounce' then kumo.reject(550, 'never') end
  if user == 'later' then kumo.reject(451, 'later') end
  if user == 'error' then error 'on purpose' end
  msg:set_meta('tenant', 't1')
end)
'''


def test_deferred_queue(kumod, sink):
    s = sink()
    k = kumod(DEFERRED, sink_port=s.port)
    for u in ("ok", "bounce", "later", "error"):
        assert k.client().mail(u + "@a.example").startswith("250 OK ids=")
    assert s.wait(1)
    assert wait_for(lambda: len(types(k, "later@a.example")) == 2 and len(types(k, "error@a.example")) == 2 and len(types(k, "bounce@a.example")) == 2 and len(types(k, "ok@a.example")) == 3)
    assert types(k, "ok@a.example") == ["Reception", "DeferredInjectionRebind", "Delivery"]
    assert types(k, "bounce@a.example") == ["Reception", "Bounce"]
    assert types(k, "later@a.example") == types(k, "error@a.example") == ["Reception", "TransientFailure"]
    by = {(r["recipient"], r["type"]): r for r in k.records()}
    assert {r["queue"] for r in k.records() if r["type"] == "Reception"} == {"deferred_smtp_inject.kumomta.internal"}
    assert by["ok@a.example", "Delivery"]["queue"] == "t1@a.example"
    assert by["bounce@a.example", "Bounce"]["response"]["code"] == 550
    # those two wait in their queue, for about a minute, and survive a restart
    assert k.metric("scheduled_count", queue="deferred_smtp_inject.kumomta.internal") == 2
    assert k.stop() == 0
    k.start()
    assert "2 messages found" in k.stderr()
    assert k.stop() == 0
    assert sorted((r["recipient"], r["type"]) for r in k.records() if r["type"] in FINAL) == [("bounce@a.example", "Bounce"), ("ok@a.example", "Delivery")]


def test_deferred_queue_and_spool(kumod, sink):
    """Both: nothing is written while all goes well."""
    s = sink()
    k = kumod(DEFERRED.replace("deferred_queue = true", "deferred_queue = true, deferred_spool = true") .replace("kind = 'RocksDB'", "kind = 'LocalDisk'"), sink_port=s.port)
    assert k.client().mail("ok@a.example").startswith("250") and s.wait(1)
    assert wait_for(lambda: types(k, "ok@a.example")[-1:] == ["Delivery"]) and wait_for(lambda: spooled(k) == [])
    assert k.client().mail("later@a.example").startswith("250")
    assert wait_for(lambda: len(spooled(k)) == 1)
    assert k.stop() == 0
