"""What the reference says of Lua functions, where no recorded case shows it."""
import http.server, threading

from kumotest import script


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
