#!/usr/bin/python3
"""script/bench - how much mail kumod moves, for how much CPU, beside Postfix on the same machine.

    script/bench                       every case (half an hour)
    script/bench --quick --json FILE   the main cases in under five minutes, as a JSON array
    script/bench --case relay-10k-s20  one case (may be repeated); --list shows their names

Postfix's smtp-source and smtp-sink are the peers, unpacked from Debian's package into a scratch folder; nothing is installed. Traffic stays on
127.0.0.1. CPU seconds are those of the server alone (user and system, from /proc), per 10,000 messages from the first MAIL to the last delivery."""
import argparse, json, os, resource, shutil, sys, tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kumod import KumodRun
from postfix import PostfixRun
from peers import Tools
import extra

RELAY = {}


def relay(name, size=10240, sessions=20, n=20000, quick=False, postfix=False, **opts):
    RELAY[name] = dict(size=size, sessions=sessions, n=n, quick=quick, postfix=postfix, opts=opts)


relay("relay-10k-s20", quick=True, postfix=True)
relay("relay-10k-s20-flush", quick=True, flush=True)
relay("relay-10k-s20-dkim", n=10000, quick=True, dkim=True)
relay("relay-1k-s20", size=1024)
relay("relay-100k-s20", size=102400, n=5000)
relay("relay-10k-s100", sessions=100, quick=True)
relay("relay-10k-s100-dkim", sessions=100, n=10000, dkim=True)
relay("relay-1k-s20-dkim", size=1024, n=10000, dkim=True)
relay("relay-100k-s20-dkim", size=102400, n=5000, dkim=True)
relay("relay-10k-s20-localdisk", spool="LocalDisk")
relay("relay-10k-s20-reconnect", reconnect=True)


def run_relay(name, c, tools, bin_dir, scratch, mta):
    sink = tools.sink()
    n = min(c["n"], 3000) if mta == "postfix" else c["n"]
    run = (PostfixRun if mta == "postfix" else KumodRun)(tools, bin_dir, scratch, sink.port, **c["opts"])
    try:
        run.start()
        tools.source(run.port, 500, c["sessions"], c["size"], True)          # warm up
        run.wait_delivered(500)
        row = run.measure(lambda: tools.source(run.port, n, c["sessions"], c["size"], not c["opts"].get("reconnect")), n)
    finally:
        run.stop()
        sink.stop()
    return dict({"mta": mta, "case": name}, **{k: round(v, 2) for k, v in row.items()})


COLUMNS = (("msgs_per_s", "%8.0f msg/s"), ("cpu_s_per_10k", "%7.2f CPU-s/10k"), ("peak_rss_mb", "%7.0f MB peak"))


def show(row):
    cells = [form % row[k] for k, form in COLUMNS if k in row]
    cells += ["%s %s" % (k, v) for k, v in row.items() if k not in ("mta", "case") and k not in dict(COLUMNS)]
    print("%-8s %-26s %s" % (row["mta"], row["case"], "  ".join(cells)), flush=True)


def main():
    ap = argparse.ArgumentParser(prog="script/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--quick", action="store_true", help="the main cases only")
    ap.add_argument("--json", metavar="FILE", help="write the numbers there too")
    ap.add_argument("--case", metavar="NAME", action="append", default=[], help="only this one; may be repeated")
    ap.add_argument("--list", action="store_true", help="names of the cases")
    ap.add_argument("--no-postfix", action="store_true", help="leave the peer out")
    ap.add_argument("--bin", metavar="DIR", help="the programs to measure, else build/bin", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "bin"))
    a = ap.parse_args()
    if a.list:
        print("\n".join(list(RELAY) + list(extra.CASES)))
        return 0
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    scratch = tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("BENCH_DIR", "/var/tmp"))
    os.chmod(scratch, 0o755)
    rows = []
    try:
        tools = Tools(scratch)
        for name, c in RELAY.items():
            if (a.case and name not in a.case) or (a.quick and not a.case and not c["quick"]):
                continue
            for mta in ["kumod"] + (["postfix"] if c["postfix"] and not a.no_postfix else []):
                row = run_relay(name, c, tools, a.bin, scratch, mta)
                show(row)
                row.pop("tail_s", None)     # shown only: relay rows have the same keys for both
                rows.append(row)
        for name, f in extra.CASES.items():
            if (a.case and name not in a.case) or (a.quick and not a.case and name not in extra.QUICK):
                continue
            row = dict({"mta": "kumod", "case": name}, **f(tools, a.bin, scratch))
            rows.append(row)
            show(row)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(rows, f, indent=1)
            f.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
