"""Loss of power under `flush = true`: what was answered with 250 is found again, whatever of the unsynced writes the disk kept.

A preloaded library (lost_cache_shim.c) writes down what the daemon does to its spool. At random moments a disk is made of that as a journaling file
system would leave it: names in order, at least up to the last sync that was over; contents of files up to their own last sync, and of what
came after it nothing, all, or a random part. A daemon is started on each such disk. That the operating system's sync reaches the platter is assumed."""
import os, random, shutil, signal, struct, threading, time
import pytest
from kumotest import BASE, Kumod, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
CUTS = int(os.environ.get("LOST_CACHE_CUTS", "12"))
REC = struct.Struct("<IIQQQII")


class File:
    def __init__(self):
        self.ops, self.synced = [], 0       # (sequence, 'W', offset, data) or (sequence, 'T', length)


class Disk:
    """The log read up to a moment."""

    def __init__(self, log, until_ns):
        self.names, self.files, self.names_synced, self.seq = [], {}, 0, 0
        now, opened, begun, at = {}, {}, {}, 0
        while at + REC.size <= len(log):
            op, f, off, n, t, l1, l2 = REC.unpack_from(log, at)
            at += REC.size
            a, b = log[at:at + l1].decode(), log[at + l1:at + l1 + l2].decode()
            at += l1 + l2
            op = chr(op)
            data = log[at:at + n] if op == "W" else b""
            at += len(data)
            if t > until_ns:
                break
            self.seq += 1
            if op == "O":
                if a not in now and off & os.O_CREAT:
                    now[a] = File()
                    self.names.append((self.seq, "C", a, now[a]))
                opened[f] = now.get(a)
                if off & os.O_TRUNC and opened[f]:
                    opened[f].ops.append((self.seq, "T", 0))
            elif op in "WT" and opened.get(f):
                opened[f].ops.append((self.seq, op, off, data))
            elif op == "s":
                begun[f] = self.seq
            elif op == "S":
                self.names_synced = max(self.names_synced, begun[f])
                if opened.get(f):
                    opened[f].synced = max(opened[f].synced, begun[f])
            elif op in "RLUM":
                self.apply(now, op, a, b, None)
                self.names.append((self.seq, op, a, b))

    @staticmethod
    def apply(names, op, a, b, f):
        if op == "C":
            names[a] = f
        elif op == "U":
            names.pop(a, None)
        elif op == "L":
            names[b] = names[a]
        elif op == "M":
            names[a] = None
        elif op == "R":
            for old in [p for p in names if p == a or p.startswith(a + "/")]:
                names[b + old[len(a):]] = names.pop(old)

    def content(self, f, names_kept, rng):
        out, keep = bytearray(), rng.choice((0, 0.5, 1))
        for op in f.ops:
            if op[1] == "T":
                if op[0] <= max(f.synced, names_kept):
                    out = out[:op[2]].ljust(op[2], b"\0")
            elif op[0] <= f.synced or rng.random() < keep:
                out = out.ljust(op[2], b"\0")
                out[op[2]:op[2] + len(op[3])] = op[3]
        return bytes(out)

    def write(self, root, to, rng):
        kept = rng.choice((self.names_synced, rng.randint(self.names_synced, max(self.seq, self.names_synced))))
        names = {}
        for seq, op, a, b in self.names:
            if seq <= kept:
                self.apply(names, op, a, b, b if op == "C" else None)
        for path, f in sorted(names.items()):
            assert path.startswith(root)
            place = to + path[len(root):]
            os.makedirs(place if f is None else os.path.dirname(place), exist_ok=True)
            if f is not None:
                with open(place, "wb") as h:
                    h.write(self.content(f, kept, rng))


@pytest.mark.parametrize("kind", ["RocksDB", "LocalDisk"])
def test_power_is_lost(kumod, sink, preload, tmp_path, kind):
    rng = random.Random(kind)
    # half of the recipients are delivered, so that the spool sees removals too
    first, second = sink(lambda verb, line: "451 4.3.0 later" if verb == "RCPT" and "keep" in line else None), sink()
    env = {"LD_PRELOAD": preload(HERE + "/lost_cache_shim.c"), "SHIM_LOG": str(tmp_path / "log")}
    base = str(tmp_path / "first")
    os.mkdir(base)
    env["SHIM_ROOT"] = base + "/spool"
    # small buffers, so that RocksDB flushes and rolls its logs meanwhile
    text = "SPOOL = { kind = '%s', flush = true%s }; QUEUE = { retry_interval = '%%s' }; PATH = { max_ready = 1000000 }\n" % (kind, ", rocks_params = { write_buffer_size = 65536 }" if kind == "RocksDB" else "") + BASE.replace("%", "%%")
    k = Kumod(text % "20m", sink_port=first.port, dir=base, env=env)
    seen, stop = [], threading.Event()

    def load(name):
        i = 0
        while not stop.is_set():
            try:
                c = k.client()
                while not stop.is_set():
                    i += 1
                    rcpt = "%s%d-%d@a.example" % ("keep" if i % 2 else "gone", name, i)
                    if c.mail(rcpt, b"Subject: x\r\n\r\n" + b"%d " % i * random.randrange(400) + b"\r\n").startswith("250"):
                        seen.append((time.monotonic_ns(), rcpt))
            except (OSError, IndexError):
                return
    t = [threading.Thread(target=load, args=(n,)) for n in range(6)]
    begin = time.monotonic_ns()
    [x.start() for x in t]
    wait_for(lambda: len(seen) >= 600, 20)
    end = time.monotonic_ns()
    k.p.send_signal(signal.SIGKILL)
    k.p.wait()
    stop.set()
    [x.join() for x in t]
    assert len(seen) > 50
    with open(tmp_path / "log", "rb") as f:
        log = f.read()
    assert log
    delivered = set(first.rcpts)
    for n in range(CUTS):
        cut = rng.randint(begin, end)
        d = str(tmp_path / ("disk%d" % n))
        os.mkdir(d)
        disk = Disk(log, cut)
        disk.write(base + "/spool", d + "/spool", rng)
        k = Kumod(text % "1s", sink_port=second.port, dir=d)
        assert k.p.poll() is None, k.stderr()
        wanted = {r for t, r in seen if t <= cut} - delivered
        done = wait_for(lambda: not (wanted - set(second.rcpts)), 15)
        missing = sorted(wanted - set(second.rcpts))
        k.stop()
        assert done, "cut %d: %d of %d lost: %s\n%s" % (n, len(missing), len(wanted), missing[:5], k.stderr()[-2000:])
        shutil.rmtree(d)
        second.rcpts.clear()
