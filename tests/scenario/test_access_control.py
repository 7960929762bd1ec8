"""Who may do what over HTTP, as reference/access_control and its kumo.aaa pages have it: ACL files, events, identities, the hierarchy of resources."""
import base64, http.client, socket
import pytest
from kumotest import BASE, script, wait_for

POLICY = BASE.replace("kumo.start_http_listener { listen = '127.0.0.1:0' }", "kumo.start_http_listener { listen = '127.0.0.1:0', trusted_hosts = TRUSTED or {} }") + r'''
kumo.on('http_server_validate_auth_basic', function(user, password)
  if password ~= 'pw' then return false end
  if user == 'boss' then return { identities = { { identity = 'boss', context = 'HttpBasicAuth' } }, groups = { 'admins' } } end
  return true
end)
'''
ACL = r'''
kumo.on('get_acl_definition', function(resource)
  return kumo.memoize(function() return kumo.aaa.load_acl_map(DIR .. '/acl.toml') end, { name = 'acls', ttl = '5 minutes', capacity = 4 })():get(resource)
end)
'''
GET, ADMIN = "/metrics.json", "/api/admin/suspend/v1"


def ask(k, path, user=None, password="pw", method="GET", body=None):
    c = http.client.HTTPConnection("127.0.0.1", k.ports["http"], timeout=20)
    head = {"Authorization": "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()} if user else {}
    c.request(method, path, body, dict(head, **({"Content-Type": "application/json"} if body else {})))
    return c.getresponse().status


def start(kumod, tmp_path, acl=None, pre="", post=""):
    text = pre + "\n" + POLICY + post
    if acl is not None:
        (tmp_path / "acl.toml").write_text(acl)
        text += ACL.replace("DIR .. '/acl.toml'", "'%s/acl.toml'" % tmp_path)
    return kumod(text)


def test_the_default(kumod, tmp_path):
    k = start(kumod, tmp_path, pre="TRUSTED = { '127.0.0.1' }")
    assert [ask(k, p) for p in (GET, ADMIN, "/api/check-liveness/v1", "/nothing")] == [200, 200, 200, 404]
    k = start(kumod, tmp_path)
    assert [ask(k, p) for p in (GET, ADMIN, "/api/check-liveness/v1")] == [401, 401, 200]
    assert [ask(k, p, "joe") for p in (GET, ADMIN)] == [401, 401] and ask(k, GET, "joe", "wrong") == 401
    assert ask(k, "/api/inject/v1", "joe", method="POST", body='{"envelope_sender":"s@x.example","recipients":[{"email":"r@a.example"}],"content":"Subject: x\\n\\nhi\\n"}') == 200
    assert ask(k, "/api/inject/v1", method="POST", body="{}") == 401


RULES = {   # whom of nobody, joe and boss they let in
    "identity.Individual = 'joe'": [False, True, False],
    "identity.Group = 'admins'": [False, False, True],
    "identity.Authenticated = {}": [False, True, True],
    "identity.Unauthenticated = {}": [True, False, False],
    "identity.Any = {}": [True, True, True],
    "identity.Machine = '127.0.0.1'": [True, True, True],
    "identity.Machine = '127.0.0.0/8'": [True, True, True],
    "identity.Machine = '10.0.0.1'": [False, False, False],
    "criteria.AllOf = [ {Identity = { Group = 'admins' }}, {Identity={Machine = '127.0.0.1'}} ]": [False, False, True],
    "criteria.AllOf = [ {Identity = { Group = 'admins' }}, {Identity={Machine = '10.0.0.1'}} ]": [False, False, False],
    "criteria.AnyOf = [ {Identity = { Group = 'admins' }}, {Identity={Individual = 'joe'}} ]": [False, True, True],
    "criteria.Not = {Identity = { Group = 'admins' }}": [True, True, False],
    "criteria.AllOf = [ {Not = {Identity = { Individual = 'joe' }}}, {Identity={Authenticated = {}}} ]": [False, False, True],
}


@pytest.mark.parametrize("rule", RULES)
def test_rules(kumod, tmp_path, rule):
    k = start(kumod, tmp_path, "[[acl.'http_listener/*/metrics.json']]\nallow = true\nprivileges = ['GET']\n%s\n" % rule)
    assert [ask(k, GET, who) for who in (None, "joe", "boss")] == [200 if may else 401 for may in RULES[rule]]


@pytest.mark.parametrize("acl, path, want", [
    ("[[acl.'http_listener']]\nallow = true\nprivileges = ['GET']\nidentity.Any = {}\n", GET, 200),
    ("[[acl.'http_listener/127.0.0.1:PORT/metrics.json']]\nallow = true\nprivileges = ['GET']\nidentity.Any = {}\n", GET, 200),
    ("[[acl.'http_listener/127.0.0.1:PORT']]\nallow = true\nprivileges = ['GET']\nidentity.Any = {}\n", GET, 200),
    ("[[acl.'http_listener/*/api/machine-info']]\nallow = true\nprivileges = ['POST', 'PUT']\nidentity.Any = {}\n", "/api/machine-info", 401),
    ("[[acl.'http_listener/*/api/admin']]\nallow = true\nprivileges = ['POST']\nidentity.Any = {}\n", ADMIN, 401),      # takes the place of the default
    ("[[acl.'http_listener/*/metrics.json']]\nallow = false\nprivileges = ['GET']\nidentity.Any = {}\n[[acl.'http_listener']]\nallow = true\nprivileges = ['GET']\nidentity.Any = {}\n", GET, 401),
    ("[[acl.'http_listener/*/metrics.json']]\nallow = true\nprivileges = ['GET']\nidentity.Any = {}\n[[acl.'http_listener/*/metrics.json']]\nallow = false\nprivileges = ['GET']\nidentity.Any = {}\n", GET, 200),
])
def test_the_nearest_rule_decides(kumod, tmp_path, acl, path, want):
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    text = POLICY.replace("kumo.start_http_listener { listen = '127.0.0.1:0'", "kumo.start_http_listener { listen = '127.0.0.1:%d'" % port)
    (tmp_path / "acl.toml").write_text(acl.replace("PORT", str(port)))
    k = kumod(text + ACL.replace("DIR .. '/acl.toml'", "'%s/acl.toml'" % tmp_path))
    assert ask(k, path) == want


def test_without_the_defaults(kumod, tmp_path):
    k = start(kumod, tmp_path, "[[acl.'http_listener/*/metrics.json']]\nallow = true\nprivileges = ['GET']\nidentity.Any = {}\n", "TRUSTED = { '127.0.0.1' }",
              "kumo.on('pre_init', function() kumo.aaa.set_fall_back_to_acl_map(false) end)\n")
    assert [ask(k, p) for p in (GET, ADMIN, "/api/check-liveness/v1")] == [200, 401, 401]


def test_an_acl_made_by_policy(kumod, tmp_path):
    k = start(kumod, tmp_path, post=r'''
kumo.on('get_acl_definition', function(resource)
  if resource == 'http_listener/*/metrics.json' then
    return kumo.aaa.make_access_control_list { { criteria = { Identity = { Individual = 'joe' } }, privilege = 'GET', access = 'Allow' } }
  end
end)
''')
    assert [ask(k, GET, w) for w in (None, "joe", "boss")] == [401, 200, 401] and ask(k, "/api/check-liveness/v1") == 200


def test_an_acl_that_cannot_be_had_lets_nobody_in(kumod, tmp_path):
    k = start(kumod, tmp_path, pre="TRUSTED = { '127.0.0.1' }", post="kumo.on('get_acl_definition', function(resource) error 'no database' end)\n")
    assert ask(k, GET) == 500
    assert wait_for(lambda: "no database" in k.stderr())


def test_acl_maps_that_are_wrong(tmp_path):
    (tmp_path / "a.toml").write_text('[[acl."r"]]\nallow = true\nprivileges = ["GET"]\nidentity.Any = {}\n')
    (tmp_path / "b.toml").write_text('[[acl."r"]]\nallow = "yes"\n')
    (tmp_path / "c.toml").write_text('[[acl."r"\n')
    out = script("""
  for _, f in ipairs { 'a', 'b', 'c', 'none' } do
    print(try(function() local m = kumo.aaa.load_acl_map('%s/' .. f .. '.toml') return m:get('r') ~= nil, m:get('other') end))
  end
  print(try(kumo.aaa.load_acl_map, 5))
""" % tmp_path)
    assert out[0] == "true\ttrue\tnil"
    assert "failed to parse acl map data" in out[1] and "`allow`" in out[1]
    text = "\n".join(out)
    assert "c.toml:1" in text and "none.toml" in text and "KeySource" in text
