import os, shutil, subprocess, sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import kumotest


@pytest.fixture
def preload(tmp_path):
    """Compiles the source of a library to be preloaded; its path, or a skip."""
    def make(source):
        if shutil.which("cc") is None:
            pytest.skip("no C compiler")
        if "asan" in os.environ.get("BIN_DIR", ""):
            pytest.skip("the sanitizers' library must be loaded first")
        so = str(tmp_path / "shim.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", so, source, "-ldl", "-lpthread"], check=True)
        return so
    return make


@pytest.fixture
def sink():
    made = []

    def make(*a, **kw):
        made.append(kumotest.Sink(*a, **kw))
        return made[-1]
    yield make
    for s in made:
        s.close()


@pytest.fixture
def kumod():
    made = []

    def make(policy, **kw):
        made.append(kumotest.Kumod(policy, **kw))
        return made[-1]
    yield make
    for k in made:
        k.close()
        if k.p.returncode not in (0, -15, -9):      # shown with a test that failed: perhaps this is why
            print("kumod ended with status %d:\n%s" % (k.p.returncode, k.stderr()[-6000:]))
