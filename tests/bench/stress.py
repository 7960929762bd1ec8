#!/usr/bin/python3
"""tests/bench/stress.py - many sessions at once, and every message counted: nothing accepted is lost, nothing arrives twice.

    tests/bench/stress.py --messages 20000 --sessions 100 --flaky 0.05

The next server refuses a share of the messages for now or hangs up instead of an answer; each must arrive exactly once all the same, and have
one Reception and one final record. With a build under ThreadSanitizer: meson setup build-tsan -Db_sanitize=thread -Db_lundef=false, then
TSAN_OPTIONS=suppressions=tests/tsan.supp tests/bench/stress.py --bin build-tsan ..."""
import argparse, collections, glob, json, os, resource, shutil, signal, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kumod import KumodRun

SINK = r'''
import asyncio, collections, random, sys
seen, flaky = collections.Counter(), float(sys.argv[1])


async def text(r):
    ident = None
    while True:
        line = await r.readline()
        if line.startswith(b"X-Ident: "):
            ident = int(line[9:])
        if line in (b".\r\n", b""):
            return ident


async def serve(r, w):
    try:
        w.write(b"220 sink\r\n")
        while line := await r.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                w.write(b"354 go\r\n")
                ident, luck = await text(r), random.random()
                if luck < flaky / 2:
                    w.write(b"451 4.0.0 later\r\n")
                elif luck < flaky:
                    break
                else:
                    seen[ident] += 1
                    w.write(b"250 2.0.0 ok\r\n")
            elif verb == b"QUIT":
                w.write(b"221 bye\r\n")
                break
            else:
                w.write(b"250-sink\r\n250 PIPELINING\r\n" if verb == b"EHLO" else b"250 2.0.0 ok\r\n")
    except OSError:
        pass
    finally:
        w.close()


async def main():
    s = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(s.sockets[0].getsockname()[1], flush=True)
    while await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        print(len(seen), sum(seen.values()), flush=True)
asyncio.run(main())
'''
SOURCE = r'''
import asyncio, sys
port, n, sessions = map(int, sys.argv[1:4])
todo, accepted = iter(range(n)), 0


async def reply(r):
    while (line := await r.readline())[3:4] == b"-":
        pass
    return line


async def session():
    global accepted
    r, w = await asyncio.open_connection("127.0.0.1", port)
    await reply(r)
    w.write(b"EHLO client.example\r\n")
    await reply(r)
    for i in todo:
        w.write(b"MAIL FROM:<s@from.example>\r\nRCPT TO:<r@a.example>\r\nDATA\r\n")
        for _ in range(3):
            await reply(r)
        w.write(b"X-Ident: %d\r\nFrom: <s@from.example>\r\nSubject: x\r\n\r\n..dot\r\n" % i + (b"y" * 70 + b"\r\n") * 60 + b".\r\n")
        taken = (await reply(r)).startswith(b"250")
        accepted += taken
    w.close()


async def main():
    await asyncio.gather(*[session() for _ in range(sessions)])
    print(accepted)
asyncio.run(main())
'''


def ask(sink):
    sink.stdin.write("?\n")
    sink.stdin.flush()
    return map(int, sink.stdout.readline().split())


def records(run):
    received, ended = collections.Counter(), collections.Counter()
    for name in glob.glob(run.dir + "/logs/*"):
        for line in subprocess.run(["zstdcat", name], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
            r = json.loads(line)
            if r["type"] == "Reception":
                received[r["id"]] += 1
            elif r["type"] in ("Delivery", "Bounce", "Expiration"):
                ended[r["id"]] += 1
    return received, ended


def stress(a, scratch):
    sink = subprocess.Popen([sys.executable, "-c", SINK, str(a.flaky)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    run = KumodRun(None, a.bin, scratch, int(sink.stdout.readline()), retry="1s", dkim=a.dkim, flush=a.flush)
    try:
        run.start()
        start = time.time()
        accepted = int(subprocess.run([sys.executable, "-c", SOURCE, str(run.port), str(a.messages), str(a.sessions)], stdout=subprocess.PIPE, text=True, check=True).stdout)
        end = time.time() + a.patience
        while True:
            arrived, total = ask(sink)
            if arrived >= accepted or time.time() > end or run.p.poll() is not None:
                break
            time.sleep(0.1)
        took = time.time() - start
        if run.p.poll() is None:
            run.p.send_signal(signal.SIGTERM)     # not run.stop(), which removes the logs
        status = run.p.wait(60)
        received, ended = records(run)
        ok = accepted == a.messages == arrived == total == len(received) and received == ended and max(received.values()) == 1 and status == 0
        print("%s: accepted %d, arrived %d (%d in all), Reception records %d, final records %d, exit status %d, %.1f s" % (
            "ok" if ok else "FAILED", accepted, arrived, total, sum(received.values()), sum(ended.values()), status, took))
        return 0 if ok else 1
    finally:
        if run.p.poll() is None:
            run.p.kill()
        sink.kill()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bin", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build"))
    ap.add_argument("--messages", type=int, default=10000)
    ap.add_argument("--sessions", type=int, default=100)
    ap.add_argument("--flaky", type=float, default=0.05, help="share of the messages that the next server does not take at once")
    ap.add_argument("--patience", type=float, default=120, help="seconds after the last acceptance")
    ap.add_argument("--dkim", action="store_true")
    ap.add_argument("--flush", action="store_true")
    a = ap.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    scratch = tempfile.mkdtemp(prefix="stress-", dir=os.environ.get("BENCH_DIR", "/var/tmp"))
    try:
        return stress(a, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
