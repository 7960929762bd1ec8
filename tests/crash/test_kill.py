"""kill -9 at any moment: what was answered with 250 is delivered."""
import os, random, signal, threading, time
import pytest
from kumotest import BASE, wait_for

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "50"))


def send_until_it_dies(port_of, accepted, names, stop):
    while not stop.is_set():
        try:
            c = port_of()
            for name in names:
                if stop.is_set():
                    return
                if c.mail("%s@a.example" % name).startswith("250"):
                    accepted.append(name)
        except (OSError, KeyError, IndexError):
            time.sleep(0.02)


@pytest.mark.parametrize("kind", ["LocalDisk", "RocksDB"])
def test_killed_under_load_nothing_accepted_is_lost(kumod, sink, kind):
    s = sink()
    # a ready queue with room: what finds it full comes again within a minute, which is not what is tested here
    k = kumod("SPOOL = { kind = '%s' }; QUEUE = { retry_interval = '1s' }; PATH = { max_ready = 1000000 }\n" % kind + BASE, sink_port=s.port)
    accepted, counter = [], iter(range(10 ** 9))
    rng = random.Random(1)
    for _ in range(ROUNDS):
        stop = threading.Event()
        names = ("m%d" % next(counter) for _ in range(10 ** 6))
        lock = threading.Lock()

        def unique():
            while True:
                with lock:
                    yield next(names)
        t = [threading.Thread(target=send_until_it_dies, args=(k.client, accepted, unique(), stop)) for _ in range(4)]
        [x.start() for x in t]
        time.sleep(rng.uniform(0.02, 0.3))
        k.p.send_signal(signal.SIGKILL)
        k.p.wait()
        stop.set()
        [x.join() for x in t]
        k.start()
    assert len(accepted) > ROUNDS
    wanted = {"%s@a.example" % n for n in accepted}
    missing = wait_for(lambda: not (wanted - set(s.rcpts)), 60) or sorted(wanted - set(s.rcpts))
    assert missing is True, "%d of %d lost: %s" % (len(missing), len(wanted), missing[:5])
