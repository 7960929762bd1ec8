"""kumo.string.psl_domain against the vectors of publicsuffix/list, which are looked for where those of tests/suites are."""
import json, os, re
import pytest
from kumotest import ROOT, run_kumod

FOLDERS = [f for f in (os.environ.get("KUMO_SUITES"), os.path.join(ROOT, "..", "shared", "suites"), os.path.join(ROOT, "..", "..", "shared", "suites")) if f]
VECTORS = next((p for p in (os.path.join(f, "psl", "test_psl.txt") for f in FOLDERS) if os.path.exists(p)), None)
EXCEPTIONS = {
    ".example.com": "dots in front are dropped, as KumoMTA does: example.com",
    ".example.example": "the same",
}


@pytest.mark.skipif(VECTORS is None, reason="no folder of vectors psl")
def test_vectors():
    rows = re.findall(r"^checkPublicSuffix\('(.*?)', (?:null|'(.*?)')\);", open(VECTORS, encoding="utf-8").read(), re.M)
    policy = """
    local kumo = require 'kumo'
    kumo.on('main', function(...)
      for _, name in ipairs(kumo.serde.json_parse(...)) do print(name, kumo.string.psl_domain(name)) end
    end)"""
    status, out, err = run_kumod(policy, "--script", "--", json.dumps([r[0] for r in rows]))
    assert status == 0, err
    got = dict((line.split("\t") + [""])[:2] for line in out.splitlines())
    got = {name: "" if found == "nil" else found for name, found in got.items()}
    assert len(rows) > 70
    assert sorted(name for name, want in rows if got[name] != want) == sorted(EXCEPTIONS)
