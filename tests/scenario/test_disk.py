"""The disk is full, read-only or broken, descriptors or mappings run out, and all is well again: what clients hear, which deliveries wait, and that nothing
accepted is lost."""
import errno, json, os, re, select, socket, struct, time
import pytest
from kumotest import BASE, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
SPOOL = "SPOOL = { kind = '%s', min_free_space = '0', min_free_inodes = '0', rocks_params = { error_latch_duration = '0s', error_unlatch_duration = '1s'%s } }; QUEUE = { retry_interval = '2s', max_retry_interval = '3s' }\n"
FINAL = {"Delivery", "Bounce", "Expiration", "AdminBounce", "XferOut"}
WORDS = "421 4.3.2 mta.example the spool is not accepting writes. Try later"


class Disk:
    def __init__(self, so, path, root):
        self.path = path
        self.set(0, 0, -1)
        self.env = {"LD_PRELOAD": so, "SHIM_ROOT": root, "SHIM_CONTROL": path}

    def set(self, write=0, read=0, free=-1, stacks=0):
        failed = self.failed() if os.path.exists(self.path) else 0
        with open(self.path, "r+b" if os.path.exists(self.path) else "w+b") as f:
            f.write(struct.pack("iiiii", write, read, free, failed, stacks))

    def failed(self):
        with open(self.path, "rb") as f:
            return struct.unpack("iiiii", f.read())[3]


@pytest.fixture
def disk(preload, tmp_path):
    (tmp_path / "k").mkdir()
    return Disk(preload(HERE + "/fault_shim.c"), str(tmp_path / "control"), str(tmp_path / "k" / "spool"))


def start(kumod, sink, disk, text):
    return kumod(text, sink_port=sink.port, dir=os.path.dirname(disk.env["SHIM_ROOT"]), env=disk.env)


def inject(k, rcpt="h@a.example"):
    return k.http("POST", "/api/inject/v1", {"envelope_sender": "s@from.example", "recipients": [{"email": rcpt}], "content": "Subject: x\n\nbody"})


def try_mail(k, rcpt):
    c = k.client()
    return c.mail(rcpt) if c.greeting.startswith("220") else c.greeting


def exactly_once(k, accepted):
    """After the end: one final record for each, and an empty spool."""
    finals = [(r["recipient"], r["type"]) for r in k.records() if r["type"] in FINAL]
    assert sorted(finals) == sorted((a, "Delivery") for a in accepted)
    k.start()
    assert "messages found" not in k.stderr().rsplit("listener on", 1)[1]


def start_deferring(kumod, sink, disk, spool):
    """A daemon that has deferred five messages, and a sink that takes them once state["ok"]."""
    state = {"ok": False}
    s = sink(lambda verb, line: None if state["ok"] or verb != "MAIL" else "451 4.3.0 not now")
    k = start(kumod, s, disk, spool + BASE)
    accepted = ["r%d@a.example" % i for i in range(5)]
    for a in accepted:
        assert k.client().mail(a).startswith("250")
    assert k.wait_records("TransientFailure", 5)
    return state, s, k, accepted


@pytest.mark.parametrize("kind", ["RocksDB", "LocalDisk"])
@pytest.mark.parametrize("fault", ["ENOSPC", "EROFS", "EIO"])
def test_writes_fail(kumod, sink, disk, kind, fault):
    state, s, k, accepted = start_deferring(kumod, sink, disk, SPOOL % (kind, ""))
    old = k.client()
    disk.set(getattr(errno, fault))
    refused = [try_mail(k, "no%d@a.example" % i) for i in range(3)]
    assert all(r.startswith("421 4.3.") for r in refused), refused
    status, body = inject(k, "no@a.example")
    assert status == 503 or json.loads(body)["fail_count"] == 1, (status, body)
    if kind == "RocksDB":
        assert wait_for(lambda: k.metric("rocks_spool_load_shed_active", path=disk.env["SHIM_ROOT"] + "/data") == 1), k.stderr()
        assert k.client().greeting == WORDS
        assert old.cmd("MAIL FROM:<s@from.example>") == WORDS
        assert inject(k) == (503, "the spool is not accepting writes")
        assert k.http("GET", "/api/check-liveness/v1") == (503, "the spool is not accepting writes")
        # deliveries wait, and say so
        held = wait_for(lambda: [r for r in k.records() if r["type"] == "Delayed" and "spool unhealthy" in r["response"]["content"]])
        assert held and held[0]["response"] == {"code": 451, "enhanced_code": {"class": 4, "subject": 4, "detail": 4}, "command": None,
                                                "content": "KumoMTA internal: delivery suspended: spool unhealthy: the spool is not accepting writes"}
        state["ok"] = True
        time.sleep(4)       # a due time or two
        assert s.messages == []
    state["ok"] = True
    disk.set(0)
    assert wait_for(lambda: k.client().greeting.startswith("220"), 30), k.stderr()[-3000:]
    assert k.http("GET", "/api/check-liveness/v1") == (200, "OK")
    accepted.append("after@a.example")
    assert wait_for(lambda: try_mail(k, "after@a.example").startswith("250"), 10, 0.5), k.stderr()[-3000:]
    assert wait_for(lambda: set(accepted) <= set(s.rcpts), 30), (s.rcpts, k.stderr()[-3000:])
    assert disk.failed() > 0 and k.stop() == 0
    exactly_once(k, accepted)


def test_delivery_goes_on_if_told(kumod, sink, disk):
    """suspend_delivery_when_spool_unhealthy(false): mail is refused, deliveries go on."""
    state = {"ok": False}
    s = sink(lambda verb, line: None if state["ok"] or verb != "MAIL" else "451 4.3.0 not now")
    k = start(kumod, s, disk, SPOOL % ("RocksDB", ", allow_error_unlatch = false") + BASE.replace("kumo.on('init', function()", "kumo.on('init', function() kumo.suspend_delivery_when_spool_unhealthy(false)", 1))
    assert k.client().mail().startswith("250") and k.wait_records("TransientFailure")
    disk.set(errno.EIO)
    assert try_mail(k, "no@a.example").startswith("421")
    assert wait_for(lambda: k.client().greeting == WORDS)
    state["ok"] = True
    assert s.wait(1), k.stderr()
    # allow_error_unlatch = false: it stays refused though the disk is well
    disk.set(0)
    time.sleep(7)       # longer than error_unlatch_duration and the monitor's period
    assert k.client().greeting == WORDS


def test_a_blip_is_no_outage(kumod, sink, disk):
    """An error that RocksDB calls passing refuses its message only, until it has lasted for error_latch_duration."""
    s = sink()
    k = start(kumod, s, disk, (SPOOL % ("LocalDisk", "")) + BASE)
    disk.set(errno.ENOSPC)
    assert try_mail(k, "no@a.example") == "421 4.3.0 mta.example cannot store messages now. Try later"
    disk.set(0)
    assert try_mail(k, "yes@a.example").startswith("250")
    assert s.wait(1) and k.stop() == 0
    exactly_once(k, ["yes@a.example"])


@pytest.mark.parametrize("kind", ["RocksDB", "LocalDisk"])
def test_reads_fail(kumod, sink, disk, kind):
    """What cannot be loaded now is tried again, without a restart."""
    state, s, k, accepted = start_deferring(kumod, sink, disk, SPOOL % (kind, ", write_buffer_size = 65536, limit_concurrent_loads = 1"))
    for which in ("data", "meta"):      # out of RocksDB's memory into a file
        assert k.http("POST", "/api/admin/spool-compact/v1", {"name": which})[0] == 200
    disk.set(0, errno.EIO)
    state["ok"] = True
    if kind == "LocalDisk":             # RocksDB has its blocks in the cache
        assert wait_for(lambda: disk.failed() > 5), k.stderr()
        time.sleep(1)
        assert s.messages == []
    disk.set(0)
    assert wait_for(lambda: set(accepted) <= set(s.rcpts), 40), (s.rcpts, k.stderr()[-3000:])
    assert k.stop() == 0
    exactly_once(k, accepted)


def test_min_free(kumod, sink, disk):
    """Below min_free_space or min_free_inodes mail is refused, deliveries go on."""
    state = {"ok": False}
    s = sink(lambda verb, line: None if state["ok"] or verb != "MAIL" else "451 4.3.0 not now")
    k = start(kumod, s, disk, "SPOOL = { min_free_space = '20%', min_free_inodes = '10%' }\n" + BASE)
    assert k.client().mail().startswith("250")
    disk.set(free=19)
    assert wait_for(lambda: k.client().greeting == "421 4.3.2 mta.example disk is too full. Try later", 15), k.stderr()
    assert inject(k) == (503, "disk is too full")
    assert k.http("GET", "/api/check-liveness/v1") == (503, "storage is too full")
    assert k.metric("disk_free_percent", name="data spool") == 19
    assert re.search("data spool path .* has issue\\(s\\): 19% space available but minimum is 20%", k.stderr())
    state["ok"] = True
    assert s.wait(1)
    disk.set(free=21)
    assert wait_for(lambda: k.client().greeting.startswith("220"), 15), k.stderr()
    assert "has recovered" in k.stderr()
    assert k.http("GET", "/api/check-liveness/v1") == (200, "OK")
    assert k.stop() == 0
    exactly_once(k, ["r@a.example"])


def test_no_more_stacks(kumod, sink, disk):
    """vm.max_map_count is reached: a clear message, those who come wait, and all goes on when connections end."""
    s = sink()
    k = start(kumod, s, disk, BASE)
    assert k.client().mail("r0@a.example").startswith("250") and s.wait(1)
    disk.set(stacks=errno.ENOMEM)
    held = [socket.create_connection(("127.0.0.1", k.ports["smtp"])) for _ in range(400)]
    assert wait_for(lambda: "vm.max_map_count" in k.stderr()), k.stderr()
    assert disk.failed() > 0 and k.p.poll() is None
    served = [c for c in held if select.select([c], [], [], 0.01)[0]]
    assert 5 < len(served) < 400 and all(c.recv(100).startswith(b"220") for c in served), len(served)
    for c in held:
        c.close()
    assert wait_for(lambda: k.client().mail("r1@a.example").startswith("250"), 20)
    assert s.wait(2)
    disk.set()
    assert k.client().mail("r2@a.example").startswith("250") and s.wait(3)
    assert k.stop() == 0
    exactly_once(k, ["r%d@a.example" % i for i in range(3)])


NOFILE = ["/bin/sh", "-c", "ulimit -n 160 && exec \"$@\"", "sh"]


@pytest.mark.parametrize("kind", ["RocksDB", "LocalDisk"])
def test_no_more_descriptors(kumod, sink, kind):
    """More clients than descriptors: the rest waits without a greeting, sessions that stand take mail, the spool is not cut off."""
    s = sink()
    k = kumod("SPOOL = { kind = '%s', rocks_params = { write_buffer_size = 65536 } }\n" % kind + BASE, sink_port=s.port, wrap=NOFILE)
    standing = k.client()
    held = [socket.create_connection(("127.0.0.1", k.ports["smtp"])) for _ in range(200)]
    assert wait_for(lambda: "LimitNOFILE" in k.stderr()), k.stderr()
    time.sleep(0.5)
    body = b"Subject: x\r\n\r\n" + b"".join(os.urandom(40).hex().encode() + b"\r\n" for _ in range(80))
    accepted = ["r%d@a.example" % i for i in range(60)]
    for a in accepted:      # enough to make RocksDB write files
        assert standing.mail(a, body).startswith("250"), k.stderr()[-2000:]
    assert "refusing mail" not in k.stderr() and "IO error" not in k.stderr(), k.stderr()[-2000:]
    for c in held:
        c.close()
    accepted.append("late@a.example")
    assert wait_for(lambda: k.client().mail("late@a.example").startswith("250"), 20)
    assert wait_for(lambda: set(accepted) <= set(s.rcpts), 90), (len(s.rcpts), k.stderr()[-2000:])
    assert k.stop() == 0
    exactly_once(k, accepted)


def test_too_few_descriptors_to_start(kumod):
    k = kumod(BASE, wait=False, wrap=["/bin/sh", "-c", "ulimit -n 12 && exec \"$@\"", "sh"])
    assert k.p.wait(20) == 1
    k.reader.join(5)
    assert "Too many open files" in k.stderr() and "LimitNOFILE" in k.stderr() and "another process" not in k.stderr(), k.stderr()
