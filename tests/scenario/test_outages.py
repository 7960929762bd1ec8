"""What is around kumod fails: DNS, the disk, the next server. What was accepted is delivered when it is well again."""
import base64, os, re, subprocess, threading
import pytest
from kumotest import BASE, Kumod, wait_for

# names are answered by a daemon of the test's own: nobody listens there until it is started
DNS = BASE.replace("kumo.dns.configure_test_resolver { zone 'a.example', zone 'b.example' }",
                   "kumo.dns.configure_resolver { name_servers = { '127.0.0.1:' .. os.getenv 'DNS_PORT' }, options = { timeout = '1s', attempts = 1, use_hosts_file = 'Never', negative_max_ttl = '1s' } } kumo.dns.set_mx_negative_cache_ttl '1s'")


class Names:
    """A DNS server on UDP: every MX is mx.<name>, every A 127.0.0.1. mode: ok, silent, servfail, nonsense."""

    def __init__(self):
        import dns.message, dns.rrset, dns.flags, dns.rcode, socket
        self.mode, self.asked = "silent", 0
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind(("127.0.0.1", 0))
        self.port = self.s.getsockname()[1]

        def serve():
            while True:
                try:
                    data, peer = self.s.recvfrom(4096)
                except OSError:
                    return
                self.asked += 1
                if self.mode == "silent":
                    continue
                if self.mode == "nonsense":
                    self.s.sendto(data[:2] + b"\xff" * 40, peer)
                    continue
                q = dns.message.from_wire(data)
                r = dns.message.make_response(q)
                r.flags |= dns.flags.RA
                name, kind = q.question[0].name, q.question[0].rdtype
                if self.mode == "servfail":
                    r.set_rcode(dns.rcode.SERVFAIL)
                elif kind == 15 and not name.to_text().startswith("mx."):
                    r.answer.append(dns.rrset.from_text(name, 5, "IN", "MX", "10 mx.%s" % name))
                elif kind == 1 and name.to_text().startswith("mx."):
                    r.answer.append(dns.rrset.from_text(name, 5, "IN", "A", "127.0.0.1"))
                self.s.sendto(r.to_wire(), peer)
        threading.Thread(target=serve, daemon=True).start()


@pytest.mark.parametrize("mode", ["silent", "servfail", "nonsense"])
def test_dns_down(kumod, sink, mode):
    pytest.importorskip("dns")
    n, s = Names(), sink()
    n.mode = mode
    k = kumod("QUEUE = { retry_interval = '2s' }\n" + DNS, sink_port=s.port, env={"DNS_PORT": str(n.port)})
    for i in range(5):
        assert k.client().mail("r%d@a%d.places.net" % (i, i)).startswith("250")
    assert k.wait_records("TransientFailure", 1, 60), k.stderr()
    assert wait_for(lambda: n.asked)
    assert k.client().mail("r5@a5.places.net").startswith("250")     # goes on accepting
    n.mode = "ok"
    assert s.wait(6, 40), (s.rcpts, k.stderr()[-2000:])
    assert k.stop() == 0
    assert len(s.messages) == 6
    assert not [r for r in k.records() if r["type"] in ("Bounce", "Expiration")]
    n.s.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MB, or a skip."""
    d = str(tmp_path / "disk")
    os.mkdir(d)
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", d], capture_output=True).returncode != 0:
        pytest.skip("mounting needs root")
    yield d
    subprocess.run(["umount", "-l", d], check=True)


@pytest.mark.parametrize("kind", ["RocksDB", "LocalDisk"])
def test_disk_full(small_disk, sink, kind):
    """Until the disk is full messages are taken, then refused for now with the reason; all that were taken are delivered."""
    state = {"ok": False}
    s = sink(lambda verb, line: None if state["ok"] or verb != "MAIL" else "451 4.3.0 not now")
    k = Kumod("SPOOL = { kind = '%s', min_free_space = '0', min_free_inodes = '0' }; LOG = { min_free_space = '0', min_free_inodes = '0' }; LISTENER = { data_processing_timeout = '10s' }; QUEUE = { retry_interval = '2s', max_retry_interval = '4s' }\n" % kind + BASE, sink_port=s.port, dir=small_disk)
    try:
        taken, refused = [], []
        for i in range(120):
            r = None
            try:
                c = k.client()
                r = c.greeting if not c.greeting.startswith("220") else c.mail("r%d@a.example" % i, b"Subject: x\r\n\r\n" + base64.encodebytes(os.urandom(200000)).replace(b"\n", b"\r\n"))
            except OSError:
                continue
            (taken if r.startswith("250") else refused).append((i, r))
            if len(refused) >= 5:
                break
        assert taken and refused, (taken[:3], refused[:3])
        assert not [r for _, r in refused if not re.match("4[25]1 |503 ", r)], refused
        assert k.p.poll() is None, k.stderr()[-3000:]
        subprocess.run(["mount", "-o", "remount,size=256m", small_disk], check=True)
        state["ok"] = True
        if not s.wait(len(taken), 30):
            k.stop()                              # RocksDB may want a new start after a failed write
            k.start()
        wanted = {"r%d@a.example" % i for i, _ in taken}
        assert wait_for(lambda: not (wanted - set(s.rcpts)), 40), (sorted(wanted - set(s.rcpts)), k.stderr()[-3000:])
        assert wait_for(lambda: k.client().mail("last@a.example").startswith("250"), 30, 0.3), k.client().mail("last@a.example")
        assert k.stop() == 0
        assert re.search("(?i)no space left", k.stderr()), k.stderr()[-3000:]
    finally:
        k.close()


def test_a_log_that_cannot_be_written(small_disk, sink):
    """Records that cannot be kept are said so; mail goes on or waits, the daemon lives."""
    s = sink()
    k = Kumod("LOG = { log_dir = DIR .. '/disk/logs', max_segment_duration = '1s', min_free_space = '0', min_free_inodes = '0' }\n".replace("DIR .. '/disk", "'" + small_disk) + BASE, sink_port=s.port)
    try:
        assert k.client().mail().startswith("250")
        with open(small_disk + "/filler", "wb") as f:
            try:
                while True:
                    f.write(b"x" * 65536)
                    f.flush()
            except OSError:
                pass
        results = []

        def one():
            c = k.client()
            c.s.settimeout(5)
            try:
                results.append(c.mail(body=b"Subject: x\r\n\r\n" + b"y" * 100 + b"\r\n"))
            except OSError:
                results.append("timeout")
        t = [threading.Thread(target=one) for _ in range(20)]
        [x.start() for x in t]
        [x.join() for x in t]
        assert k.p.poll() is None
        os.unlink(small_disk + "/filler")
        assert wait_for(lambda: k.client().mail().startswith("250"), 30, 0.3)
        taken = sum(r.startswith("250") for r in results)
        assert s.wait(taken + 2, 30), (results, len(s.messages))
        assert k.stop() == 0
    finally:
        k.close()


def test_a_spool_with_damage_starts_and_keeps_it(kumod, sink):
    """A file in the spool that is no envelope is reported and left; the others are delivered."""
    state = {"ok": False}
    s = sink(lambda verb, line: None if state["ok"] or verb != "MAIL" else "451 4.3.0 not now")
    k = kumod("SPOOL = { kind = 'LocalDisk' }\n" + BASE, sink_port=s.port)
    for i in range(6):
        assert k.client().mail("r%d@a.example" % i).startswith("250")
    assert k.wait_records("TransientFailure", 6)
    assert k.stop() == 0
    metas = [os.path.join(d, f) for d, _, fs in os.walk(k.dir + "/spool/meta/data") for f in fs]
    assert len(metas) == 6
    for path, text in zip(sorted(metas), (b"", b"\xff\xfe", b'{"sender": 5}')):
        with open(path, "wb") as f:
            f.write(text)
    state["ok"] = True
    k.start()
    assert s.wait(3)
    assert "3 damaged" in k.stderr(), k.stderr()[-2000:]
    assert k.stop() == 0
    assert len(s.messages) == 3
    assert all(os.path.exists(p) for p in sorted(metas)[:3])
