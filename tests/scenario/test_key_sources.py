"""Where keys and secrets come from: a file, the policy, an event, HashiCorp Vault."""
import http.server, json
import pytest
from kumotest import http_server, run_kumod


class Vault(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ok = self.path == "/v1/secret/data/dkim/example.com" and self.headers.get("X-Vault-Token") == "good"
        body = json.dumps({"data": {"data": {"key": "from vault", "other": "another"}}} if ok else {"errors": ["permission denied"]}).encode()
        self.send_response(200 if ok else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *a):
        pass


@pytest.fixture
def vault():
    with http_server(Vault) as s:
        yield s.url


SECRET = "vault_mount = 'secret', vault_path = 'dkim/example.com'"
NAMED = SECRET + ", vault_address = A, vault_token = 'good'"


def load(source, vault="", **env):
    status, out, err = run_kumod("""
    local kumo = require 'kumo'
    local A = '%s'
    kumo.on('get-secret', function(a, b) return 'event ' .. a .. b end)
    kumo.on('get-none', function() end)
    kumo.on('main', function() print(kumo.secrets.load(%s)) end)""" % (vault, source), "--script", env=env)
    return out.strip() if status == 0 else err


def test_local_sources(tmp_path):
    path = str(tmp_path / "key")
    with open(path, "w") as f:
        f.write("from a file")
    assert load("'%s'" % path) == "from a file"
    assert load("{ key_data = 'given' }") == "given"
    assert load("{ event_name = 'get-secret', event_args = { 'x', 2 } }") == "event x2"
    assert "failed to load data from file `%s.none`: No such file" % path in load("'%s.none'" % path)
    assert "the handler of get-none must return a string" in load("{ event_name = 'get-none', event_args = {} }")
    assert "Event get-unknown has not been registered" in load("{ event_name = 'get-unknown', event_args = {} }")
    assert "did not match any variant" in load("{ key_date = 'x' }")


def test_vault(vault):
    assert load("{ %s }" % NAMED, vault) == "from vault"
    assert load("{ %s, vault_key = 'other' }" % NAMED, vault + "/") == "another"
    assert load("{ %s }" % SECRET, VAULT_ADDR=vault, VAULT_TOKEN="good") == "from vault"
    assert "does not contain key 'none'" in load("{ %s, vault_key = 'none' }" % NAMED, vault)
    assert "the server answered 403" in load("{ %s }" % NAMED.replace("good", "bad"), vault)
    assert "$VAULT_ADDR is not set" in load("{ %s }" % SECRET)
    assert "$VAULT_TOKEN is not set" in load("{ %s }" % SECRET, VAULT_ADDR=vault)
