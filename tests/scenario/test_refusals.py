"""What keeps kumod from starting: it ends with status 1 (2 for the command line) and says what, where, and what was expected."""
import os, signal, socket, subprocess
import pytest
from kumotest import AS_ME, BASE, BIN, PRELUDE, Kumod, run_kumod, wait_for

INIT = PRELUDE + "kumo.on('init', function()\n%s\nend)\n"     # the chunk stands in line 8
LINE = 8

CASES = {
    "a misspelt option": (INIT % "kumo.start_esmtp_listener { lisen = '127.0.0.1:0' }", ["`lisen`", "start_esmtp_listener", "did you mean `listen`", ":%d:" % LINE]),
    "a misspelt option of a path": ("kumo = require 'kumo'\nkumo.make_egress_path { conection_limit = 3 }", ["`conection_limit`", "connection_limit", ":2:"]),
    "a misspelt option of a peer": (INIT % "kumo.start_esmtp_listener { listen = '127.0.0.1:0', peer = { ['127.0.0.1'] = { banne = 'x' } } }", ["`banne`", "peer", "did you mean `banner`"]),
    "a misspelt option of a spool": (INIT % "kumo.define_spool { name = 'data', path = DIR .. '/s', kin = 'RocksDB' }", ["`kin`", "define_spool", "did you mean `kind`"]),
    "a wrong type": (INIT % "kumo.start_esmtp_listener { max_message_size = '10MB' }", ["max_message_size", '"10MB"', "expected an integer", ":%d:" % LINE]),
    "a table in the place of a number": (INIT % "kumo.start_esmtp_listener { max_message_size = {} }", ["max_message_size", "expected an integer"]),
    "a wrong word": (INIT % "kumo.start_esmtp_listener { invalid_line_endings = 'Mend' }", ["`Mend`", "Deny", "Allow", "Fix", "invalid_line_endings"]),
    "a wrong duration": (INIT % "kumo.start_esmtp_listener { client_timeout = '5 parsecs' }", ["5 parsecs", "client_timeout"]),
    "a network that is none": (INIT % "kumo.start_esmtp_listener { relay_hosts = { '10.0.0.1/8' } }", ["10.0.0.1/8", "10.0.0.0/8", "relay_hosts"]),
    "no TOML file": (INIT % "kumo.serde.toml_load '/no/such/file.toml'", ["/no/such/file.toml", "No such file", ":%d:" % LINE]),
    "a TOML file that is wrong": (INIT % "local f = io.open(DIR .. '/bad.toml', 'w'); f:write 'a = 1\\nb = [1,\\n'; f:close(); kumo.serde.toml_load(DIR .. '/bad.toml')", ["bad.toml", "line 2"]),
    "no key": (INIT % "kumo.start_http_listener { listen = '127.0.0.1:0', use_tls = true, tls_private_key = '/no/such/key', tls_certificate = '/no/such/cert' }", ["/no/such/", "No such file"]),
    "a folder as a key": (INIT % "kumo.start_http_listener { listen = '127.0.0.1:0', use_tls = true, tls_private_key = DIR, tls_certificate = DIR }", ["Is a directory"]),
    "a key that is none": (INIT % "local f = io.open(DIR .. '/k', 'w'); f:write 'x'; f:close(); kumo.start_http_listener { listen = '127.0.0.1:0', use_tls = true, tls_private_key = DIR .. '/k', tls_certificate = DIR .. '/k' }", ["/k"]),
    "an address that is none": (INIT % "kumo.start_esmtp_listener { listen = 'nonsense' }", ["nonsense", "invalid socket address"]),
    "a syntax error": ("local kumo = require 'kumo'\nkumo.on('init', function(\n", ["init.lua", ":3:", "expected near <eof>"]),
    "an unknown function": ("local kumo = require 'kumo'\nkumo.start_smtp_listener {}\n", [":2:", "start_smtp_listener"]),
    "an unknown module": ("require 'policy-extras.shapping'\n", [":1:", "policy-extras.shapping"]),
    "init throws": (INIT % "error 'on purpose'", ["init", "on purpose", ":%d:" % LINE, "stack traceback"]),
    "init throws nothing": (INIT % "error()", ["init"]),
    "a handler within a handler": (INIT % "kumo.on('smtp_server_ehlo', function() end)", ["smtp_server_ehlo", "kumo.on", "init"]),
    "no spool": (INIT % "", ["No spools have been defined"]),
    "a spool's path through a file": (INIT % "io.open(DIR .. '/f', 'w'):close(); kumo.define_spool { name = 'data', path = DIR .. '/f/data', kind = 'RocksDB' }; kumo.define_spool { name = 'meta', path = DIR .. '/f/meta', kind = 'LocalDisk' }",
                                       ["spool data", "spool meta", "/f/data", "/f/meta", "Not a directory"]),
    "a log folder that cannot be": (INIT % "kumo.configure_local_logs { log_dir = '/dev/null/logs' }", ["/dev/null/logs", "Not a directory"]),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(case):
    policy, words = CASES[case]
    status, out, err = run_kumod(policy)
    assert status == 1
    assert [w for w in words if w not in err] == [], err
    assert "listener on" not in err and out == ""


def test_a_policy_that_is_no_text(tmp_path):
    (tmp_path / "init.lua").write_bytes(b"x = '\xff'\n")
    r = subprocess.run([os.path.join(BIN, "kumod"), "--policy", str(tmp_path / "init.lua"), *AS_ME], capture_output=True, text=True, timeout=30)
    assert r.returncode == 1 and "init.lua" in r.stderr and "UTF-8" in r.stderr


@pytest.mark.parametrize("args, words", [
    (["--polic", "x"], ["--polic"]),
    (["stray"], ["stray"]),
    (["--diag-format", "loud"], ["loud", "pretty", "json"]),
    (["--policy"], ["--policy"]),
])
def test_command_lines_refused(args, words):
    r = subprocess.run([os.path.join(BIN, "kumod"), *args], capture_output=True, text=True, timeout=30)
    assert r.returncode == 2
    assert [w for w in words if w not in r.stderr] == [], r.stderr


@pytest.mark.parametrize("what, start", [("smtp", "kumo.start_esmtp_listener { listen = '127.0.0.1:%d' }"), ("http", "kumo.start_http_listener { listen = '127.0.0.1:%d' }")])
def test_a_port_in_use(what, start):
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
        status, _, err = run_kumod(INIT % (start % port))
    assert status == 1
    assert "127.0.0.1:%d" % port in err and "Address already in use" in err


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize("kind", ["RocksDB", "LocalDisk"])
def test_a_spool_that_may_not_be_written(kind, tmp_path):
    tmp_path.chmod(0o755)
    for p in tmp_path.parents:
        if str(p).startswith("/tmp/"):
            p.chmod(0o755)
    (tmp_path / "spool").mkdir(mode=0o755)
    policy = tmp_path / "init.lua"
    policy.write_text("local kumo = require 'kumo'\nkumo.on('init', function()\nfor _, n in ipairs { 'data', 'meta' } do kumo.define_spool { name = n, path = '%s/spool/' .. n, kind = '%s' } end\nend)\n" % (tmp_path, kind))
    r = subprocess.run([os.path.join(BIN, "kumod"), "--policy", str(policy), "--user", "nobody"], capture_output=True, text=True, timeout=30, env=dict(os.environ, KUMO_NODE_ID_PATH="/nonexistent"))
    assert r.returncode == 1
    for w in ("spool data", "spool meta", "%s/spool/data" % tmp_path, "Permission denied"):
        assert w in r.stderr, r.stderr


@pytest.mark.parametrize("kind", ["RocksDB", "LocalDisk"])
def test_two_daemons_on_one_spool(kumod, kind):
    first = kumod("SPOOL = { kind = '%s' }\n" % kind + BASE)
    second = Kumod("SPOOL = { kind = '%s' }\n" % kind + BASE, dir=first.dir, wait=False)
    assert second.p.wait(30) == 1
    second.reader.join(5)
    for w in ("spool data", first.dir + "/spool/data/" + ("lock" if kind == "LocalDisk" else "LOCK"), "pid %d" % first.p.pid if kind == "LocalDisk" else "another process"):
        assert w in second.stderr(), second.stderr()
    assert first.client().mail("r@null.example").startswith("250")    # the first goes on
    assert first.stop() == 0
    second.start()
    assert second.stop() == 0


@pytest.mark.parametrize("body", ["while true do end", "kumo.sleep(1000)"])
def test_an_init_that_never_returns_can_be_stopped(kumod, body):
    k = kumod(INIT % ("io.open(DIR .. '/here', 'w'):close() " + body), wait=False)
    assert wait_for(lambda: os.path.exists(k.dir + "/here"))
    assert k.stop(signal.SIGTERM, 10) == 0


KCLI = [["queue-summary"], ["bounce", "--domain", "x.example", "--reason", "x"], ["suspend", "--reason", "x", "--domain", "x.example"], ["inspect-message", "d3921bb0e78d11f1ac1002fc00000001"],
        ["set-log-filter", "info"], ["provider-summary"], ["bounce-list"]]


@pytest.mark.parametrize("args", KCLI, ids=lambda a: a[0])
def test_kcli_without_a_daemon(args):
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    url = "http://127.0.0.1:%d" % port
    r = subprocess.run([os.path.join(BIN, "kcli"), "--endpoint", url, *args], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert r.returncode == 1
    assert "127.0.0.1:%d" % port in r.stderr and "Is kumod running" in r.stderr, r.stderr
