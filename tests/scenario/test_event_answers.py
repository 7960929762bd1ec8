"""What handlers of events may answer: nothing, nil, the right thing; what a wrong type, a Lua error, kumo.reject and kumo.disconnect do; how the fault is told of."""
import base64, http.client, json
import pytest
from kumotest import BASE, run_kumod, wait_for

# the client's name, or the user, says what the handler does
BODIES = r'''
local BODIES = {
  nothing = function() end, ['nil'] = function() return nil end, number = function() return 5 end, text = function() return 'x' end, list = function() return {} end,
  yes = function() return true end, no = function() return false end, throw = function() error 'on purpose' end,
  later = function() kumo.reject(451, '4.7.1 later') end, never = function() kumo.reject(550, '5.7.1 never') end, bye = function() kumo.disconnect(421, '4.3.2 bye') end,
}
local function act(name) return (BODIES[name] or BODIES.nothing)() end
'''
EHLO_DOMAIN = "local function named(conn) return (conn:get_meta 'ehlo_domain' or ''):match '^[^.]*' end\n"
TROUBLE = "421 4.3.0 mta.example technical difficulties"
FINE = "250 OK ids="
IGNORED = dict.fromkeys(("nothing", "nil", "number", "text", "list", "yes", "no"), FINE)
REFUSED = {"throw": TROUBLE, "later": "451 4.7.1 later", "never": "550 5.7.1 never", "bye": "421 4.3.2 bye"}
# event: (its parameters, who says what to do, the last answer by what the handler does, a part of the error about a wrong type)
SMTP = {
    "smtp_server_ehlo": ("domain", "domain:match '^[^.]*'", {**IGNORED, **REFUSED, **dict.fromkeys(("number", "text", "yes", "no"), TROUBLE)}, "must return nil or a list of extensions, not a number"),
    "smtp_server_mail_from": ("sender, conn", "named(conn)", {**IGNORED, **REFUSED}, None),
    "get_listener_domain": ("domain, listener, conn", "named(conn)", {**dict.fromkeys(("nothing", "nil"), FINE), **dict.fromkeys(("number", "text", "list", "yes", "no", "throw", "later", "never", "bye"), TROUBLE)},
                            "returned a number for from.example; it must return kumo.make_listener_domain"),
    "smtp_server_rcpt_to": ("rcpt, conn", "named(conn)", {**IGNORED, **REFUSED}, None),
    "smtp_server_data": ("msg, conn", "named(conn)", {**IGNORED, **REFUSED}, None),
    "smtp_server_split_transaction": ("msg, conn", "named(conn)", {**IGNORED, **REFUSED, "list": "550 ", **dict.fromkeys(("number", "text", "yes", "no"), TROUBLE)}, "must return nil or a list of lists of addresses"),
    "smtp_server_message_received": ("msg, conn", "named(conn)", {**IGNORED, **REFUSED}, None),
    "smtp_server_rewrite_response": ("status, text, command, conn", "named(conn)", dict.fromkeys((*IGNORED, *REFUSED), FINE), "it must return nil or a status, and nil or a text"),
}


def dialogue(c, name):
    """The first answer that is not positive, or that to the message."""
    r = c.cmd("EHLO " + name + ".example")
    return r if r[0] != "2" else c.mail("r@null")


@pytest.mark.parametrize("event", SMTP)
def test_smtp_server(kumod, event):
    params, who, answers, wrong = SMTP[event]
    k = kumod(BASE + BODIES + EHLO_DOMAIN + "kumo.on('%s', function(%s) return act(%s) end)\n" % (event, params, who))
    for name, expected in answers.items():
        c = k.client()
        r = dialogue(c, name)
        c.close()
        assert r.startswith(expected), (name, r)
    assert wait_for(lambda: [l for l in k.lines if event in l and "init.lua" in l and "on purpose" in l])
    assert not wrong or wait_for(lambda: [l for l in k.lines if event in l and wrong in l]), k.stderr()[-2000:]


def ask(k, path, user=None):
    c = http.client.HTTPConnection("127.0.0.1", k.ports["http"], timeout=20)
    c.request("GET", path, headers={"Authorization": "Basic " + base64.b64encode((user + ":secret").encode()).decode()} if user else {})
    r = c.getresponse()
    return r.status, r.read().decode()


def test_http_server_validate_auth_basic(kumod):
    k = kumod(BASE.replace("kumo.start_http_listener { listen = '127.0.0.1:0' }", "kumo.start_http_listener { listen = '127.0.0.1:0', trusted_hosts = {} }") + BODIES + r'''
BODIES.admin = function() return { identities = { { identity = 'root', context = 'HttpBasicAuth' } }, groups = { 'admins' } } end
BODIES.mangled = function() return { identities = 5 } end
kumo.on('http_server_validate_auth_basic', function(user, password) if password == 'secret' then return act(user) end end)
kumo.on('get_acl_definition', function(resource)
  if resource:find '/bounce' then
    return kumo.aaa.make_access_control_list { { criteria = { Identity = { Group = 'admins' } }, privilege = 'GET', access = 'Allow' } }
  end
end)
''')
    path = "/api/admin/bounce/v1"
    assert ask(k, path, "admin") == (200, "[]")
    assert ask(k, path, "yes")[0] == 401 and "id=[yes]" in ask(k, path, "yes")[1]
    assert ask(k, path, "no") == (401, "HttpBasicAuth Authentication Failed for no")
    for user in ("nothing", "nil", "number", "text", "throw", "later", "mangled"):
        assert ask(k, path, user) == (500, "try again later"), user
    for text in ("expected true, false or an AuthInfo, not a nil", "not a number", "on purpose", "identities of the AuthInfo must be a list"):
        assert wait_for(lambda: [l for l in k.lines if "http_server_validate_auth_basic: " in l and text in l]), text


def test_get_acl_definition(kumod):
    """Handlers are asked in turn until one returns something, nil as well."""
    k = kumod(BASE + BODIES + r'''
local function wanted(resource) return resource:match '/api/admin/([a-z-]+)/v1$' or '' end
local NAMES = { bounce = 'number', suspend = 'throw', ['suspend-ready-q'] = 'later', ['ready-q-states'] = 'nothing', ['inspect-message'] = 'nil' }
kumo.on('get_acl_definition', function(resource)
  local name = NAMES[wanted(resource)]
  if name and name ~= 'nothing' then return act(name) end
end)
kumo.on('get_acl_definition', function(resource) if NAMES[wanted(resource)] then error('second: ' .. wanted(resource)) end end)
''')
    for name, text in (("bounce", "it must return an access control list or nil, not a number"), ("suspend", "on purpose"), ("suspend-ready-q", "451 4.7.1 later"), ("ready-q-states", "second: ready-q-states")):
        assert ask(k, "/api/admin/%s/v1" % name) == (500, "try again later"), name
        assert wait_for(lambda: [l for l in k.lines if "get_acl_definition: " in l and text in l]), (name, k.stderr()[-800:])
    assert ask(k, "/api/admin/inspect-message/v1")[0] == 400 and "second: inspect-message" not in k.stderr()


def test_http_message_generated(kumod):
    k = kumod(BASE + BODIES + "kumo.on('http_message_generated', function(msg) return act(msg:recipient().user) end)\n")
    names = ["nothing", "nil", "number", "list", "no", "throw", "later", "bye"]
    status, text = k.http("POST", "/api/inject/v1", {"envelope_sender": "s@from.example", "content": "Subject: x\n\nbody", "recipients": [{"email": n + "@null"} for n in names]})
    answer = json.loads(text)
    assert status == 200 and (answer["success_count"], answer["fail_count"], answer["failed_recipients"]) == (5, 3, [n + "@null" for n in names[5:]])
    assert "on purpose" in answer["errors"][0] and answer["errors"][1:] == ["later@null: 451 4.7.1 later", "bye@null: 421 4.3.2 bye"]


def test_rebind_message(kumod, sink):
    """A fault leaves the message where it was."""
    s = sink(lambda v, l: "451 4.7.1 no" if v == "RCPT" else None)
    k = kumod("QUEUE = { retry_interval = '5m' }\n" + BASE + BODIES + "kumo.on('rebind_message', function(msg, data) act(data.act) msg:set_meta('queue', 'null') end)\n", sink_port=s.port)
    for domain in ("a.example", "b.example"):
        assert k.client().mail("r@" + domain).startswith("250")
    assert k.wait_records("TransientFailure", 2)
    for name, domain in (("throw", "a.example"), ("later", "b.example")):
        assert k.http("POST", "/api/admin/rebind/v1", {"reason": "x", "domain": domain, "data": {"act": name}, "trigger_rebind_event": True})[0] == 200
    assert wait_for(lambda: sum("rebind_message: " in l for l in k.lines) >= 2), k.stderr()[-1500:]
    assert "on purpose" in k.stderr() and wait_for(lambda: k.metric("scheduled_count_total") == 2)
    assert not [r for r in k.records() if r["type"] in ("Bounce", "AdminBounce")]


@pytest.mark.parametrize("event, name, status", [("pre_init", "throw", 1), ("pre_init", "later", 1), ("init", "throw", 1)])
def test_the_start(event, name, status):
    got, _, err = run_kumod(BODIES.replace("local BODIES", "local kumo = require 'kumo'\nlocal BODIES", 1) + "kumo.on('%s', function() return act '%s' end)\n" % (event, name))
    assert got == status and ("on purpose" if name == "throw" else "451 4.7.1 later") in err, err


@pytest.mark.parametrize("event, again", [(e, False) for e in ("init", "rebind_message", "spool_message_enumerated", "smtp_client_rewrite_delivery_status", "shutdown_logging", "smtp_server_ehlo",
                                                                "get_egress_path_config", "get_egress_pool", "get_egress_source", "http_message_generated", "xfer_message_received")] +
                         [(e, True) for e in ("pre_init", "get_queue_config", "get_acl_definition", "requeue_message", "should_enqueue_log_record", "throttle_insert_ready_queue")])
def test_second_handlers(event, again):
    status, _, err = run_kumod("local kumo = require 'kumo'\nkumo.on('%s', function() end)\nkumo.on('%s', function() end)\nkumo.on('main', function() end)\n" % (event, event), "--script")
    assert (status == 0) == again and (again or ("%s event already has a handler defined at" % event in err and "init.lua:2" in err)), err
