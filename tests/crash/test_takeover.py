"""Spools that upstream left behind: every message in them is listed as recorded, and what has no schedule is delivered with its body."""
import json, os, tarfile
import pytest
from kumotest import BASE, ROOT, wait_for

SAMPLES = os.path.join(os.environ.get("KUMO_CAPTURES", os.path.join(ROOT, "..", "shared", "captures")), "spool")


def listed(k, ids):
    found = {}
    for i in ids:
        status, text = k.http("GET", "/api/admin/inspect-message/v1?id=%s&want_body=true" % i)
        if status == 200:
            found[i] = json.loads(text)["message"]
    return found


@pytest.mark.parametrize("kind", ["RocksDB", "LocalDisk"])
def test_a_spool_is_taken_over(kumod, sink, tmp_path, kind):
    if not os.path.exists(os.path.join(SAMPLES, kind + ".tar.gz")):
        pytest.skip("no recorded spools")
    with tarfile.open(os.path.join(SAMPLES, kind + ".tar.gz")) as t:
        t.extractall(tmp_path)
    data = next(d for d, sub, _ in os.walk(tmp_path) if "meta" in sub and "data" in sub)
    want = {m["id"]: m["message"] for m in json.load(open(os.path.join(SAMPLES, kind + ".json")))["messages"]}
    k = kumod("SPOOL = { kind = '%s' }\nQUEUE = { max_age = '3650 days', retry_interval = '3600 days' }\n" % kind
              + BASE.replace("DIR .. '/spool/'", "'%s/'" % data))
    found = listed(k, want)
    assert set(found) == set(want)
    for i, m in want.items():
        for name in ("sender", "recipient", "meta", "data"):
            assert found[i][name] == m[name], (i, name)
    k.stop()
    s = sink()
    k = kumod("SPOOL = { kind = '%s' }\nQUEUE = { max_age = '3650 days', retry_interval = '1s' }\n" % kind
              + BASE.replace("DIR .. '/spool/'", "'%s/'" % data).replace("zone 'b.example'", "zone 'b.example', zone 'c.example'"), sink_port=s.port)
    unscheduled = [m for m in want.values() if not m.get("schedule")]
    bodies = {m["data"].encode() for m in unscheduled}
    assert wait_for(lambda: len(s.messages) >= len(bodies) * 0.5, 20)
    assert {b.replace(b"\r\n..", b"\r\n.") for b in s.messages} <= {m["data"].encode() for m in want.values()}
