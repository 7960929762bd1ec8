"""What is on its way when kumod stops: system_shutdown_timeout, and shutdown_logging."""
import signal, time
from kumotest import BASE, wait_for


def start(kumod, sink, path, reply):
    s = sink(reply)
    k = kumod("PATH = { %s }\n" % path + BASE + r'''
kumo.on('shutdown_logging', function() local f = io.open(DIR .. '/seen', 'a'); f:write 'shutdown_logging\n'; f:close() end)
''', sink_port=s.port)
    assert k.client().mail().startswith("250")
    assert wait_for(lambda: "DATA" in s.commands)
    time.sleep(0.2)
    t = time.time()
    status = k.stop()
    return s, k, status, time.time() - t


def test_a_delivery_whose_answer_is_slow_ends_as_it_ends(kumod, sink):
    """The default is the sum of the timeouts of a transaction: a message that the peer has is not sent twice."""
    def reply(verb, line):
        if verb == "DOT":
            time.sleep(6)
    s, k, status, seconds = start(kumod, sink, "", reply)
    assert status == 0 and 5 < seconds < 15
    assert [r["type"] for r in k.records()] == ["Reception", "Delivery"] and len(s.messages) == 1
    assert open(k.dir + "/seen").read() == "shutdown_logging\n"


def test_system_shutdown_timeout_ends_it(kumod, sink):
    s, k, status, seconds = start(kumod, sink, "system_shutdown_timeout = '500ms'", lambda v, l: "hang" if v == "DOT" else None)
    assert status == 0 and seconds < 4
    assert not [r for r in k.records() if r["type"] in ("Delivery", "Bounce")]
    s.reply = lambda verb, line: None       # and it is not lost
    k.start()
    assert s.wait(1)


def test_a_second_signal_ends_it_now(kumod, sink):
    s = sink(lambda v, l: "hang" if v == "DOT" else None)
    k = kumod("PATH = { system_shutdown_timeout = '5m' }\n" + BASE, sink_port=s.port)
    assert k.client().mail().startswith("250")
    assert wait_for(lambda: "DATA" in s.commands)
    k.p.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    assert k.p.poll() is None
    t = time.time()
    assert k.stop() == 0 and time.time() - t < 6
    assert "another signal" in k.stderr()
