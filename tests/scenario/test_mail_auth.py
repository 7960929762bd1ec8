"""The mail_auth helper: every check with real lookups, what it returns and what stands in the message then."""
import json
from kumotest import PRELUDE, run_kumod

POLICY = PRELUDE + r'''
local mail_auth = require 'policy-extras.mail_auth'
local function received(from, envelope, ip)
  local msg = kumo.make_message(envelope, 'r@to.example', 'From: ' .. from .. '\r\nSubject: x\r\n\r\nhi\r\n')
  msg:set_meta('received_from', ip .. ':4000')
  msg:set_meta('ehlo_domain', 'good.example.com')
  msg:set_meta('hostname', 'mta.example')
  return msg
end
kumo.on('main', function()
  kumo.dns.configure_test_resolver {
    '$ORIGIN example.com.\n@ 300 TXT "v=spf1 ip4:192.0.2.7 -all"\n_dmarc 300 TXT "v=DMARC1; p=reject"\ngood 300 A 192.0.2.7\n',
    '$ORIGIN other.org.\n@ 300 TXT "v=spf1 ip4:192.0.2.7 -all"\n',
    '$ORIGIN 2.0.192.in-addr.arpa.\n7 300 PTR good.example.com.\n8 300 PTR good.example.com.\n',
  }
  local function results(msg, options)
    local r, out = mail_auth.check(msg, options), {}
    for name, x in pairs(r) do
      if name ~= 'auth_results' then
        out[name] = name == 'dkim' and x[1].result or x.result
      end
    end
    out.count = #r.auth_results
    return kumo.serde.json_encode(out), r
  end
  local msg = received('s@example.com', 's@example.com', '192.0.2.7')
  msg:set_meta('authn_id', 'fred')
  print((results(msg)))
  print(kumo.serde.json_encode(msg:get_first_named_header_value 'Authentication-Results'))
  local text, r = results(received('s@example.com', 's@other.org', '192.0.2.8'), { server_id = 'here', arc = false })
  print(text)
  print(kumo.serde.json_encode(r.dmarc))
  msg = received('s@example.com', 's@example.com', '192.0.2.7')
  print((results(msg, { dkim = false, spf = false, iprev = false, smtp_auth = false, arc = false, add_auth_results_header = false })), msg:get_first_named_header_value 'Authentication-Results')
  print(kumo.serde.json_encode(mail_auth.check(received('a@example.com, b@example.com', 's@example.com', '192.0.2.7'), { arc = false }).dmarc))
  print((select(2, pcall(mail_auth.check, msg, { dmrac = true }))))
end)
'''


def test_all_checks():
    status, out, err = run_kumod(POLICY, "--script")
    assert status == 0, err
    lines = out.splitlines()
    assert json.loads(lines[0]) == {"dkim": "none", "spf": "pass", "iprev": "pass", "smtp_auth": "pass", "dmarc": "pass", "arc": "none", "count": 6}
    header = json.loads(lines[1]) if isinstance(json.loads(lines[1]), str) else json.dumps(json.loads(lines[1]))
    for part in ("mta.example", "dkim", "spf", "iprev", "fred", "dmarc", "arc"):
        assert part in header
    assert json.loads(lines[2]) == {"dkim": "none", "spf": "fail", "iprev": "fail", "smtp_auth": "none", "dmarc": "fail", "count": 5}
    assert json.loads(lines[3]) == {"method": "dmarc", "result": "fail", "reason": "No aligned DKIM or SPF", "props": {"policy.p": "reject", "policy.published-domain-policy": "reject"}}
    assert lines[4].split("\t") == ['{"count":1,"dmarc":"pass"}', "nil"]
    assert json.loads(lines[5]) == {"method": "dmarc", "result": "none", "reason": "Only single 'From:' header supported", "props": {}}
    assert lines[6] == "mail_auth.check: unknown field 'dmrac'" and "did you mean 'dmarc'?" in lines[7]
