#!/usr/bin/python3
"""check.py BIN_DIR [-k TEXT]... [-j N] [--accept REASON]: drives our programs through the recorded cases and holds them against what upstream did.

Each case is the same, or its difference is kept in differences/GROUP/NAME.diff, whose first line says why ("better: ..." or "later: ...").
A difference that is kept but not seen any more fails (unless its reason says [timing]), as does one that is seen and not kept. With --accept the seen difference is kept.
The recorded cases are read from ../shared/captures beside the checkout, or from $KUMO_CAPTURES."""
import argparse, collections, difflib, os, re, shutil, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
KEPT = os.path.join(HERE, "differences")
GROUPS = ["core", "startup", "smtp-server", "delivery", "queue", "logs", "http", "kcli", "helpers", "bounce", "lua", "events"]
NAMES = ["surface/caches", "surface/openapi", "tools/tailer"]     # of groups that are mostly about other programs


def captures_folder():
    for c in (os.environ.get("KUMO_CAPTURES"), os.path.join(ROOT, "..", "shared", "captures")):
        if c and os.path.exists(os.path.join(c, "run")):
            return os.path.abspath(c)
    return None


def difference(golden, seen):
    """What differs, without the parts that only say where: line numbers move when something else is mended."""
    lines = difflib.unified_diff(golden.splitlines(1), seen.splitlines(1), "upstream", "ours", n=0)
    return "".join(l if l.endswith("\n") else l + "\n" for l in (re.sub(r"^@@ .* @@$", "@@", l.rstrip("\n")) + "\n" for l in lines))


def drive(cap, bin_dir, want, out, env, jobs):
    """Runs the cases whose names contain one of WANT; what is seen goes to OUT. Returns their names."""
    cmd = [sys.executable, os.path.join(cap, "run"), bin_dir, "--write", out, "-j", str(jobs)] + [x for k in want for x in ("-k", k)]
    names = subprocess.run(cmd + ["-l"], env=env, capture_output=True, text=True).stdout.split()
    p = subprocess.Popen(cmd, env=env, stdout=subprocess.PIPE, text=True)
    for n, line in enumerate(p.stdout, 1):
        if sys.stdout.isatty():
            print("\r%d of %d cases" % (n, len(names)), end="", flush=True)
    p.wait()
    return names


def judge(cap, out, name):
    """(whether it is as it should be, the difference, what is kept)"""
    golden = open(os.path.join(cap, "golden", name + ".txt")).read()
    try:
        seen = open(os.path.join(out, name + ".txt")).read()
    except OSError:
        seen = "(the case did not run)\n"
    kept_path = os.path.join(KEPT, name + ".diff")
    kept = open(kept_path).read() if os.path.exists(kept_path) else None
    diff = difference(golden, seen)
    if kept is None:
        return not diff, diff, kept
    reason, text = kept.split("\n", 1)
    if not diff and "[timing]" in reason:
        return True, diff, kept     # who is faster decides: upstream's way is right too
    return bool(diff) and text == diff and bool(re.match(r"(better|later): \S", reason)), diff, kept


def counts_that_are_wrong(names):
    """The rows of docs/compatibility.md that do not count what is kept."""
    rows = collections.defaultdict(lambda: [0, 0, 0])
    for n in names:
        kept = os.path.join(KEPT, n + ".diff")
        how = 0 if not os.path.exists(kept) else 1 if open(kept).readline().startswith("better") else 2
        for group in ("`%s`" % n.split("/")[0], "all"):
            rows[group][how] += 1
    page = open(os.path.join(ROOT, "docs", "compatibility.md"), encoding="utf-8").read()
    want = {g: "%d: %d same, %d better, %d later |" % (sum(r), *r) for g, r in rows.items()}
    return ["%s: docs/compatibility.md is to say %s" % (g, w) for g, w in want.items() if not re.search(r"(?m)^\| %s \|.*\| %s$" % (re.escape(g), re.escape(w)), page)]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("bin")
    ap.add_argument("-k", action="append", default=[])
    ap.add_argument("-j", type=int, default=4)
    ap.add_argument("--accept", metavar="REASON", help='keep what differs, with this first line ("better: ..." or "later: ...")')
    ap.add_argument("--show", action="store_true", help="print differences that are not kept")
    a = ap.parse_args()
    cap = captures_folder()
    if cap is None:
        print("captures: no recorded cases beside the checkout; set KUMO_CAPTURES")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    want = a.k or [g + "/" for g in GROUPS] + NAMES
    out = tempfile.mkdtemp(prefix="captures-")
    env = dict(os.environ, CASE_ASSETS=os.environ.get("CASE_ASSETS", os.path.join(ROOT, "share")))
    names = drive(cap, a.bin, want, out, env, a.j)
    doubtful = [n for n in names if not judge(cap, out, n)[0]]
    if doubtful and not a.accept:
        # cases have deadlines in them, and the machine may have been busy: those that fail are run once more, alone
        drive(cap, a.bin, doubtful, out, env, 1)
        for n in doubtful:
            if judge(cap, out, n)[0]:
                print("again   %s: as it should be when run alone" % n)
    passed = failed = same = 0
    for name in names:
        ok, diff, kept = judge(cap, out, name)
        kept_path = os.path.join(KEPT, name + ".diff")
        same += not diff
        if not ok and diff and a.accept:
            os.makedirs(os.path.dirname(kept_path), exist_ok=True)
            with open(kept_path, "w") as f:
                f.write((kept.split("\n", 1)[0] if kept else a.accept) + "\n" + diff)
            print("kept    %s" % name)
            ok = True
        passed += ok
        failed += not ok
        if ok:
            continue
        if not diff:
            print("FAILED  %s: is the same as upstream now; remove %s" % (name, os.path.relpath(kept_path, ROOT)))
        else:
            print("FAILED  %s: %s" % (name, "differs from upstream" if kept is None else "differs otherwise than kept"))
            if a.show:
                sys.stdout.write(diff)
    shutil.rmtree(out, ignore_errors=True)
    for line in [] if a.k else counts_that_are_wrong(names):
        print("FAILED  " + line)
        failed += 1
    print("captures: %d of %d the same word for word" % (same, len(names)))
    print("%d passed, %d failed" % (passed, failed))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
