"""What the next server's domain asks of TLS: DANE (RFC 7672) and MTA-STS (RFC 8461), over real handshakes."""
import hashlib, ssl, subprocess
import pytest
from kumotest import BASE, wait_for


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    """Of mx.a.example, and vouched for by itself only."""
    d = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mx.a.example", "-addext", "subjectAltName=DNS:mx.a.example",
                    "-keyout", d / "key", "-out", d / "crt"], check=True, capture_output=True)
    return d


def digest(cert):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert((cert / "crt").read_text())).hexdigest()


def deliver(kumod, sink, cert, zones, path="", queue="", pre="", env=None, tls=True, servfail=""):
    """PORT and DIGEST in the zones are the sink's. The kumod, the sink, the record of the only attempt."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(cert / "crt", cert / "key")
    s = sink(tls=ctx if tls else None)
    listed = ", ".join("{ zone = [[%s]], secure = %s }" % (text, str(secure).lower()) for text, secure in zones)
    resolver = "configure_test_resolver { zones = { %s }, servfail = { %s } }\n%s" % (listed, servfail, pre)
    resolver = resolver.replace("DIGEST", digest(cert)).replace("PORT", str(s.port))
    k = kumod("PATH = { %s }; QUEUE = { retry_interval = '1m', %s }\n" % (path, queue) + BASE.replace("configure_test_resolver { zone 'a.example', zone 'b.example' }", resolver), sink_port=s.port, env=env)
    assert k.client().mail().startswith("250")
    r = wait_for(lambda: [x for x in k.records() if x["type"] != "Reception"])
    assert r, k.records()
    return k, s, r[0]


A = "$ORIGIN a.example.\n@ 300 MX 10 mx\nmx 300 A 127.0.0.1\n"
ALIAS = "$ORIGIN a.example.\n@ 300 MX 10 mx\nmx 300 CNAME host.b.example.\n"
TARGET = ("$ORIGIN b.example.\nhost 300 A 127.0.0.1\n", False)
MATCH = "_PORT._tcp.mx 300 TLSA 3 0 1 DIGEST\n"
OTHER = "_PORT._tcp.mx 300 TLSA 3 0 1 %s\n" % ("00" * 32)
PKIX = "_PORT._tcp.mx 300 TLSA 1 0 1 DIGEST\n"

# zones, the path's enable_tls, whether the sink has TLS; then the metric's label, the record's type, a part of its text, TLS used
DANE = {
    "match": ([(A + MATCH, True)], "Disabled", True, "ok", "Delivery", "", True),
    "one of several": ([(A + OTHER + PKIX + MATCH, True)], "Opportunistic", True, "ok", "Delivery", "", True),
    "mismatch": ([(A + OTHER, True)], "OpportunisticInsecure", True, "ok", "TransientFailure", "TLS handshake with mx.a.example./127.0.0.1:", False),
    "match, and no TLS": ([(A + MATCH, True)], "Opportunistic", False, "ok", "TransientFailure", "tls policy is Required but STARTTLS is not advertised by mx.a.example./127.0.0.1", False),
    "unusable": ([(A + PKIX, True)], "Disabled", True, "unusable", "Delivery", "", True),
    "unusable, and no TLS": ([(A + PKIX, True)], "Disabled", False, "unusable", "TransientFailure", "tls policy is RequiredInsecure but STARTTLS is not advertised by", False),
    "no TLSA": ([(A, True)], "Disabled", True, "not_applicable", "Delivery", "", False),
    "chain not secure": ([(A + OTHER, False)], "Disabled", True, "insecure_chain", "Delivery", "", False),
    "alias of an unsigned name": ([(ALIAS + MATCH, True), TARGET], "Disabled", True, "ok", "Delivery", "", True),
    "alias that is unsigned itself": ([(ALIAS + MATCH, False), TARGET], "Disabled", True, "insecure_chain", "Delivery", "", False),
}


@pytest.mark.parametrize("case", DANE)
def test_dane(kumod, sink, cert, case):
    zones, tls, has_tls, result, kind, text, used = DANE[case]
    k, s, r = deliver(kumod, sink, cert, zones, "enable_dane = true, enable_tls = '%s'" % tls, tls=has_tls)
    assert (r["type"], "tls_cipher" in r) == (kind, used) and text in r["response"]["content"], r
    assert k.metric("dane_result_count", result=result) == 1
    if kind == "Delivery":
        assert r["peer_address"] == dict({"name": "mx.a.example.", "addr": "127.0.0.1"}, **({"is_secure": True} if all(secure for _, secure in zones) else {}))


@pytest.mark.parametrize("zones, failing, text", [([(A, True)], "'_PORT._tcp.mx.a.example'", "DANE TLSA lookup for mx.a.example. could not be securely resolved: SERVFAIL")])
def test_dane_without_an_answer_sends_nothing(kumod, sink, cert, zones, failing, text):
    k, s, r = deliver(kumod, sink, cert, zones, "enable_dane = true, enable_tls = 'Disabled'", servfail=failing)
    assert r["type"] == "TransientFailure" and text in r["response"]["content"] and not s.messages
    assert k.metric("dane_result_count", result="tempfail") == 1


# mx_list, treat_mx_list_as_secure, what is counted
LISTS = {
    "not trusted": ("'mx.a.example'", False, "insecure_chain"),
    "trusted": ("'mx.a.example'", True, "ok"),
    "trusted address": ("'[127.0.0.1]'", True, "insecure_chain"),
    "resolved": ("{ name = 'mx.a.example', addr = '127.0.0.1' }", True, "insecure_chain"),
    "resolved securely": ("{ name = 'mx.a.example', addr = '127.0.0.1', is_secure = true }", True, "ok"),
}


@pytest.mark.parametrize("case", LISTS)
def test_dane_of_mx_list(kumod, sink, cert, case):
    entry, trusted, result = LISTS[case]
    k, s, r = deliver(kumod, sink, cert, [(A + MATCH, True)], "enable_dane = true, enable_tls = 'Disabled'",
                      "protocol = { smtp = { mx_list = { %s }, treat_mx_list_as_secure = %s } }" % (entry, str(trusted).lower()))
    assert k.metric("dane_result_count", result=result) == 1
    assert r["type"] == "Delivery" and ("tls_cipher" in r) == (result == "ok")


def sts(mode, mx="mx.a.example"):
    return "kumo.dns.configure_test_mta_sts { ['a.example'] = 'version: STSv1\\nmode: %s\\nmx: %s\\nmax_age: 86400\\n' }" % (mode, mx)


# policy, path, environment, TLS of the sink; the record's type, a part of its text, TLS used
STS = {
    "enforce": (sts("enforce"), "enable_tls = 'Disabled'", True, True, "Delivery", "", True),
    "enforce, certificate of nobody known": (sts("enforce"), "enable_tls = 'Disabled'", False, True, "TransientFailure", "TLS handshake with mx.a.example./127.0.0.1:", False),
    "enforce, no TLS": (sts("enforce"), "", True, False, "TransientFailure", "tls policy is Required but STARTTLS is not advertised by mx.a.example./127.0.0.1", False),
    "enforce, other hosts": (sts("enforce", "*.mx.a.example"), "enable_tls = 'Disabled'", True, True, "TransientFailure", "MTA-STS enforce policy for a.example permits none of its MX hosts", False),
    "enforce, not on this path": (sts("enforce"), "enable_mta_sts = false, enable_tls = 'Disabled'", True, True, "Delivery", "", False),
    "testing": (sts("testing"), "enable_tls = 'Disabled'", False, True, "Delivery", "", True),
    "testing, other hosts": (sts("testing", "other.example"), "enable_tls = 'Disabled'", False, True, "Delivery", "", True),
    "testing, no TLS": (sts("testing"), "enable_tls = 'Required'", False, False, "Delivery", "", False),
    "none": (sts("none"), "enable_tls = 'Disabled'", False, True, "Delivery", "", False),
}


@pytest.mark.parametrize("case", STS)
def test_mta_sts(kumod, sink, cert, case):
    policy, path, known, has_tls, kind, text, used = STS[case]
    k, s, r = deliver(kumod, sink, cert, [(A, False)], path, tls=has_tls, pre=policy, env={"SSL_CERT_FILE": str(cert / "crt")} if known else None)
    assert (r["type"], "tls_cipher" in r) == (kind, used) and text in r["response"]["content"], r
    assert "is_secure" not in (r["peer_address"] or {})


@pytest.mark.parametrize("tlsa, used", [(MATCH, True), (PKIX, False)])
def test_usable_tlsa_records_come_before_mta_sts(kumod, sink, cert, tlsa, used):
    """With records that are of no use the policy is asked, and cannot vouch for this certificate."""
    k, s, r = deliver(kumod, sink, cert, [(A + tlsa, True)], "enable_dane = true", pre=sts("enforce"))
    assert (r["type"] == "Delivery", "tls_cipher" in r) == (used, used), r


def test_testing_policies_do_not_relax_dane(kumod, sink, cert):
    k, s, r = deliver(kumod, sink, cert, [(A + PKIX, True)], "enable_dane = true", pre=sts("testing"), tls=False)
    assert r["type"] == "TransientFailure" and "tls policy is RequiredInsecure" in r["response"]["content"]


def test_required_with_broken_tls_says_so(kumod, sink, cert):
    k, s, r = deliver(kumod, sink, cert, [(A, False)], "enable_tls = 'Required', remember_broken_tls = '1 hour'")
    assert r["type"] == "TransientFailure" and "remember_broken_tls" in r["response"]["content"], r
