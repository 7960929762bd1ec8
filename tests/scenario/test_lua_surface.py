"""What the reference says of Lua functions, where no recorded case shows it."""
import http.server, threading

from kumotest import script


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
