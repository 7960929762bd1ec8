"""script/demo, the first thing that anybody runs: it shows what it promises, and leaves nothing behind, however it is ended."""
import os, re, signal, subprocess, sys
from kumotest import BIN, ROOT, wait_for


def demo(*args):
    return subprocess.Popen([sys.executable, os.path.join(ROOT, "tests", "demo", "demo.py"), *args], env=dict(os.environ, BIN_DIR=BIN),
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_shows_each_fate():
    p = demo()
    text = p.communicate(timeout=60)[0]
    assert p.returncode == 0, text
    assert "delivered at its retry, attempt 2" in text and "class InvalidRecipient" in text and "\033" not in text


def test_kept_then_terminated():
    p = demo("--keep")
    lines = iter(p.stdout.readline, "")
    head = ""
    for line in lines:
        head += line
        if "What reaches the next server" in line:
            break
    folder = re.search(r"its files +(\S+)", head).group(1)
    http = re.search(r"HTTP +127.0.0.1:(\d+)", head).group(1)
    kcli = [os.path.join(BIN, "kcli"), "--endpoint", "http://127.0.0.1:" + http, "queue-summary"]
    assert subprocess.run(kcli, capture_output=True).returncode == 0
    p.send_signal(signal.SIGTERM)
    assert "nothing is left running" in p.communicate(timeout=60)[0]
    assert p.returncode == 130 and not os.path.exists(folder)
    assert wait_for(lambda: subprocess.run(kcli, capture_output=True).returncode != 0, 10)
