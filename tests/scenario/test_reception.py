"""Between the end of the data and 250: what handlers change is kept, who may relay is asked of what they leave, and nothing is forgotten by a restart."""
from kumotest import BASE

NOTE = r'''
local function note(...)
  local f = io.open(DIR .. '/seen', 'a')
  f:write(table.concat({ ... }, ' ') .. '\n')
  f:close()
end
'''


def seen(k):
    try:
        return open(k.dir + "/seen").read().splitlines()
    except OSError:
        return []


def test_metadata_of_the_whole_message_is_each_batchs(kumod, sink):
    s = sink()
    k = kumod("LOG = { meta = { 'x_*', 'tenant' } }\n" + BASE + NOTE + r'''
kumo.on('smtp_server_data', function(msg, conn)
  msg:set_meta('x_data', 'set in data')
  msg:set_meta('tenant', 'acme')
  conn:set_meta('x_conn', 'set in data')
end)
kumo.on('smtp_server_split_transaction', function(msg) msg:set_meta('x_split', msg:get_meta 'x_data') end)
kumo.on('smtp_server_message_received', function(msg)
  note(msg:recipient().user, tostring(msg:get_meta 'x_data'), tostring(msg:get_meta 'x_split'), tostring(msg:get_meta 'x_conn'), msg:queue_name())
end)
''', sink_port=s.port)
    c = k.client()
    assert c.mail(["r1@a.example", "r2@b.example"]).startswith("250 OK ids=")
    assert c.mail("r3@a.example").startswith("250 OK ids=")
    assert seen(k) == ["r1 set in data set in data nil acme@a.example", "r2 set in data set in data nil acme@b.example",
                       "r3 set in data set in data set in data acme@a.example"]     # what the connection learns in a transaction is for the next one
    r = k.wait_records("Reception", 3)
    assert [x["meta"] for x in r if x["recipient"] == "r1@a.example"] == [{"x_data": "set in data", "x_split": "set in data", "tenant": "acme"}]


def test_the_message_as_policy_leaves_it_must_be_one_that_may_be_relayed(kumod, sink):
    """Mail for a.example is taken from everybody; where an alias leads must be allowed too."""
    s = sink()
    k = kumod("LISTENER = { relay_hosts = { '192.0.2.1' } }\n" + BASE + NOTE + r'''
kumo.on('get_listener_domain', function(domain)
  note('asked', domain)
  if domain == 'a.example' then return kumo.make_listener_domain { relay_to = true } end
  if domain == 'trusted.example' then return kumo.make_listener_domain { relay_from = { '127.0.0.1' } } end
end)
kumo.on('smtp_server_data', function(msg)
  if msg:recipient_list()[1].user == 'alias' then msg:set_recipient { 'me@a.example', 'me@b.example' } end
end)
kumo.on('smtp_server_message_received', function(msg)
  local user = msg:recipient().user
  if user == 'away' then msg:set_recipient 'away@b.example' end
  if user == 'trusted' then msg:set_recipient 'x@b.example' msg:set_sender 's@trusted.example' end
end)
''', sink_port=s.port)
    c = k.client()
    assert c.cmd("MAIL FROM:<s@from.example>").startswith("250")
    assert c.cmd("RCPT TO:<r@b.example>").startswith("550 5.7.1 relaying not permitted")
    assert c.cmd("RSET").startswith("250")
    assert c.mail("away@a.example") == "550 5.7.1 relaying not permitted"
    assert c.mail("trusted@a.example").startswith("250 OK ids=")
    r = c.mail("alias@a.example")
    assert r.startswith("250 OK ids=") and len(r.split()) == 3
    assert s.wait(2) and sorted(s.rcpts) == ["me@a.example", "x@b.example"]
    asked = [l.split()[1] for l in seen(k)]
    assert sorted(asked) == sorted(set(asked))                                      # once for each domain and session


def test_deferred_messages_are_still_to_be_seen_by_policy_after_a_restart(kumod, sink):
    s = sink()
    policy = ("LISTENER = { deferred_queue = true }; LOG = { meta = { 'queue' } }\n" + BASE + NOTE + r'''
kumo.on('smtp_server_message_deferred_inject', function(msg)
  note('deferred', tostring(msg:get_meta 'queue'))
  msg:set_meta('tenant', 'acme')
end)
kumo.on('spool_message_enumerated', function(msg) note('found in', msg:queue_name()) end)
''').replace("local p = {", "if not io.open(DIR .. '/go') then error 'not yet' end\n  local p = {")
    k = kumod(policy, sink_port=s.port)
    c = k.client()
    assert c.mail("r@a.example").startswith("250 OK ids=")
    k.stop()
    assert not [l for l in seen(k) if l.startswith("deferred")]
    open(k.dir + "/go", "w").close()
    k.start()
    assert s.wait(1)
    assert [l for l in seen(k) if l != "deferred nil"] == ["found in deferred_smtp_inject.kumomta.internal"]
    assert k.stop() == 0
    r = {x["type"]: x for x in k.records()}
    assert r["Reception"]["meta"] == {"queue": "deferred_smtp_inject.kumomta.internal"}
    assert (r["DeferredInjectionRebind"]["queue"], r["Delivery"]["queue"], r["Delivery"]["meta"]) == ("acme@a.example", "acme@a.example", {})
