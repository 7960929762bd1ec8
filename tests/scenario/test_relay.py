"""The main way of a message, and what becomes of it when the next server is not kind."""
import pytest
from kumotest import BASE


def test_delivered_once_and_recorded(kumod, sink):
    s = sink()
    k = kumod(BASE, sink_port=s.port)
    c = k.client()
    assert c.cmd("EHLO client.example").startswith("250")
    for i in range(20):
        assert c.mail("r%d@a.example" % i).startswith("250 OK ids=")
    assert s.wait(20)
    assert k.stop() == 0
    recs = k.records()
    assert sorted(r["recipient"] for r in recs if r["type"] == "Reception") == sorted("r%d@a.example" % i for i in range(20))
    assert sorted(r["recipient"] for r in recs if r["type"] == "Delivery") == sorted("r%d@a.example" % i for i in range(20))
    assert len(s.messages) == 20


def test_deferred_then_delivered(kumod, sink):
    state = {"ok": False}
    s = sink(lambda verb, line: None if state["ok"] or verb != "RCPT" else "451 4.7.1 later")
    k = kumod(BASE, sink_port=s.port)
    c = k.client()
    assert c.mail().startswith("250")
    assert k.wait_records("TransientFailure")
    state["ok"] = True
    assert s.wait(1)
    assert len(k.wait_records("Delivery")) == 1


def test_survives_a_restart(kumod, sink):
    state = {"ok": False}
    s = sink(lambda verb, line: None if state["ok"] or verb != "MAIL" else "451 4.3.0 not now")
    k = kumod(BASE, sink_port=s.port)
    c = k.client()
    for i in range(10):
        assert c.mail("r%d@a.example" % i).startswith("250")
    assert len(k.wait_records("TransientFailure", 10)) >= 10
    assert k.stop() == 0
    state["ok"] = True
    k.start()
    assert s.wait(10)
    assert sorted(s.rcpts) == sorted("r%d@a.example" % i for i in range(10))


@pytest.mark.parametrize("state", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("how", ["close", "hang"])
def test_a_sink_that_fails_in_each_state_loses_nothing(kumod, sink, state, how):
    bad = {"on": True}
    s = sink(lambda verb, line: how if bad["on"] and verb == state else None)
    timeouts = ", ".join("%s_timeout = '1s'" % n for n in ("banner", "ehlo", "mail_from", "rcpt_to", "data", "data_dot"))
    k = kumod("PATH = { %s }\n" % timeouts + BASE, sink_port=s.port)
    assert k.client().mail().startswith("250")
    assert k.wait_records("TransientFailure")
    bad["on"] = False
    assert s.wait(1)
    assert len(k.wait_records("Delivery")) == 1
