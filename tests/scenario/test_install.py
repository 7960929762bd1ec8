"""script/install lays out the tree that systemd's units and the policies expect."""
import os, subprocess
from kumotest import BIN, ROOT


def test_the_tree(tmp_path):
    r = subprocess.run([os.path.join(ROOT, "script", "install"), "--prefix", str(tmp_path)], env=dict(os.environ, INSTALL_BIN=BIN), capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    top = tmp_path / "opt" / "kumomta"
    for name in ("sbin/kumod", "sbin/kcli", "sbin/tailer", "etc/policy/init.lua", "share/policy-extras/shaping.lua", "share/policy-extras/shaping.toml", "share/bounce_classifier/iana.toml"):
        assert (top / name).exists(), name
    assert (tmp_path / "etc" / "systemd" / "system" / "kumomta.service").exists()
    assert subprocess.run([str(top / "sbin" / "kumod"), "--version"], capture_output=True, text=True).stdout.startswith("kumod ")
