"""What the reference says of Lua functions, where no recorded case shows it."""
import email, http.server
import pytest
from kumotest import http_server, script


def test_digests_in_every_encoding():
    fields = ["hex", "base32", "base32_nopad", "base32hex", "base32hex_nopad", "base64", "base64_nopad", "base64url", "base64url_nopad"]
    out = script("""
  local d = kumo.digest.sha1 'hello'
  assert(tostring(d) == d.hex and d.bytes == kumo.encode.hex_decode(d.hex))
  for _, f in ipairs { %s } do
    print(d[f] == kumo.encode[f .. '_encode'](d.bytes), d[f])
  end
  print(try(function() return d.base16 end))
""" % ", ".join("'%s'" % f for f in fields))
    assert [l.split("\t")[0] for l in out[:-1]] == ["true"] * len(fields)
    assert [l.split("\t")[1] for l in out[:4:3]] == ["aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", "LBQCC7ESONKA5MLURO7JMI1CR6NAIGQD"]
    assert out[-1] == "false\tattempt to get an unknown field 'base16'"


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the request's line and fields; the server keeps the bodies."""

    def do_POST(self):
        self.server.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
        body = (self.requestline + "\n" + "".join("%s: %s\n" % (k.lower(), v) for k, v in self.headers.items())).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *a):
        pass


@pytest.fixture
def echo():
    with http_server(Echo) as server:
        server.bodies = []
        yield server


def test_forms_of_several_parts(echo):
    """Texts, octets and files; as the guide posts messages to a provider. Read by Python's parser of MIME."""
    out = script("""
  local post = function(t) return try(function() return kumo.http.build_client({}):post('http://127.0.0.1:%d/'):form_multipart_data(t):send():text() end) end
  print(select(2, post { text = 'gr\\u{fc}n', octets = '\\xff\\0', number = 5, file = { data = 'Subject: x\\r\\n\\r\\nhi\\r\\n', file_name = 'mime.msg' } }):match 'content%%-type: ([^\\n]*)')
  print(post { file = { data = 'x' } })
  print(post { file = { data = 'x', file_name = 'a"b' } })
  print(post { ['a"b'] = 'x' })
""" % echo.server_port)
    form = email.message_from_bytes(b"Content-Type: " + out[0].encode() + b"\r\n\r\n" + echo.bodies[0])
    got = {p.get_param("name", header="content-disposition"): (p.get_filename(), p["content-type"], p.get_payload(decode=True)) for p in form.get_payload()}
    octets = "application/octet-stream"
    assert got == {"text": (None, None, "gr\u00fcn".encode()), "octets": (None, octets, b"\xff\0"), "number": (None, None, b"5"), "file": ("mime.msg", octets, b"Subject: x\r\n\r\nhi\r\n")}
    assert "`file`: expected a string or {data = STRING, file_name = STRING}" in out[1] and all("a name with a quote or a line end" in l for l in out[2:4]), out


def test_a_request_signs_itself(echo):
    host = "127.0.0.1:%d" % echo.server_port
    out = script("""
  local mine = { access_key = { key_data = 'ID' }, secret_key = { key_data = 'SECRET' }, region = 'us-east-1', service = 's3', payload = 'body',
    headers = { ['content-type'] = 'text/x' }, timestamp = '2026-01-02T03:04:05Z', session_token = 'TOKEN' }
  local all = { method = 'POST', uri = '/a/b', query_params = { q = 'x y', p = '1' }, headers = { host = '%s', ['content-type'] = 'text/x' } }
  for k, v in pairs(mine) do all[k] = all[k] or v end
  local signed = kumo.crypto.aws_sign_v4(all)
  local request = kumo.http.build_client({}):post('http://%s/a/b?q=x%%20y&p=1#f')
  local text = request:header('content-type', 'text/x'):body('body'):aws_sign_v4(mine):send():text()
  print(text:match '\\nauthorization: ([^\\n]*)' == signed.authorization, text:match '\\nx%%-amz%%-date: ([^\\n]*)' == signed.timestamp)
  print(text:match '\\nx%%-amz%%-security%%-token: ([^\\n]*)', text:match '\\nx%%-amz%%-content%%-sha256: ([^\\n]*)' == kumo.digest.sha256('body').hex)
  print(mine.method, mine.headers.host, signed.authorization:match 'SignedHeaders=([^,]*)')
  print(try(request.aws_sign_v4, request, mine))
  request = kumo.http.build_client({}):post('http://%s')
  print((select(2, try(request.aws_sign_v4, request, { region = 'x' }))))
  print((select(2, try(request.aws_sign_v4, request))))
""" % (host, host, host))
    assert out[:3] == ["true\ttrue", "TOKEN\ttrue", "nil\tnil\tcontent-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token"]
    assert out[3] == "false\trequest was already sent"
    assert "access_key" in out[4] and "table" in out[5]


def test_access_and_why():
    out = script("""
  local r = kumo.aaa.make_http_url_resource('127.0.0.1:8000', 'https://any.example/api/admin/bounce/v1?x=y')
  local function ask(auth, privilege)
    local d = kumo.aaa.query_resource_access(r, auth, privilege)
    print(d.allow, d.resource, d.rule and d.rule.access, d.rule and d.rule.privilege, d.rule and d.rule.criteria.Identity.Group)
  end
  ask({ groups = { 'kumomta:http-listener-trusted-ip' } }, 'POST')
  ask({ groups = {} }, 'POST')
  print(kumo.aaa.query_resource_access('http_listener/*/api/check-liveness', {}, 'GET').allow)
  for _, bad in ipairs { {}, { 5 }, 5, true } do
    print((select(2, try(kumo.aaa.query_resource_access, bad, {}, 'GET'))))
  end
  print((select(2, try(kumo.aaa.query_resource_access, r, 5, 'GET'))))
  print((try(kumo.aaa.make_http_url_resource, 'nonsense', 'http://x/')), (try(kumo.aaa.make_http_url_resource, '127.0.0.1:80', 'nonsense')))
""")
    assert out[0] == "true\thttp_listener/*/api/admin\tAllow\tPOST\tkumomta:http-listener-trusted-ip"
    assert out[1:3] == ["false\tnil\tnil\tnil\tnil", "true"]
    assert all("expected a resource" in l for l in out[3:7]) and "expected an AuthInfo" in out[7]
    assert out[8] == "false\tfalse"


def test_public_suffixes_of_broken_names():
    assert script("""
  for _, d in ipairs { 'www.example.co.uk', 'a..com', '..a.b..com.', '..', 'com' } do
    print(kumo.string.psl_domain(d), kumo.string.psl_suffix(d))
  end
""") == ["example.co.uk\tco.uk", "nil\tcom", "nil\tcom", "nil\tnil", "nil\tcom"]


def test_errors_say_the_range():
    out = script("""
  print((select(2, try(kumo.make_egress_path, { smtp_port = '25' }))))
  print((select(2, try(kumo.make_egress_pool, { name = 'p', entries = { { name = 'a', weight = 'x' } } }))))
  print((select(2, try(kumo.dns.load_resolv_conf, '/no/such/file'))))
""")
    assert "expected u16" in out[0] and "expected u32" in out[1]
    assert out[2].endswith("reading /no/such/file: No such file or directory (os error 2)")


def test_configurations_as_compact_toml():
    out = script("""
  local text = kumo.format_egress_path_config_toml(kumo.make_egress_path { prohibited_hosts = { '10.0.0.0/8', '192.0.2.1' } })
  print(text:match '[^\\n]*', text:match 'prohibited_hosts = [^\\n]*')
  print(kumo.format_egress_path_config_toml(kumo.make_egress_path(kumo.toml_parse(text))) == text)
""")
    assert out == ['additional_connection_limits = {}\tprohibited_hosts = ["10.0.0.0/8", "192.0.2.1"]', "true"]


def test_no_value_adds_a_field_of_its_own():
    out = script("""
  local function new() return kumo.make_message('a@b.example', 'c@d.example', 'Subject: x\\r\\n\\r\\nbody\\r\\n') end
  for _, v in ipairs { 'a\\r\\nB: c', 'a\\nb', 'a\\rb', 'a\\r\\n\\tb', 'a\\r\\n\\r\\nb', 'a\\r\\n', '\\n', '', 'a' } do
    local m, n, p = new(), new(), new():parse_mime()
    m:append_header('A', v)
    n:prepend_header('A', v)
    p.headers:append('A', v)
    print((m:get_data():gsub('\\r\\n', '|')), (n:get_data():gsub('\\r\\n', '|')), #new():get_all_headers(), p.headers:get_first_named 'B')
  end
  local m = new()
  print((select(2, try(m.append_header, m, 'A: b\\r\\nB', 'c'))))
  print((select(2, try(m.prepend_header, m, 'A\\n', 'c'))))
  local h = m:parse_mime().headers
  print((select(2, try(h.append, h, 'A\\r', 'c'))))
""")
    folded = ["a| B: c", "a| b", "a| b", "a|\tb", "a| b", "a", "", "", "a"]
    assert out[:9] == ["Subject: x|A: %s||body|\tA: %s|Subject: x||body|\t1\tnil" % (f, f) for f in folded]
    assert all("bad argument #2" in l and "a line break in the name of a header field" in l for l in out[9:]) and len(out) == 12
