"""Options of a path about TLS, towards a server whose certificate nobody vouches for."""
import ssl, subprocess
import pytest
from kumotest import BASE


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    d = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/O=Sink/CN=mx.a.example", "-keyout", d / "key", "-out", d / "crt"], check=True, capture_output=True)
    return d


def context(certificate, ciphers=None):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(certificate / "crt", certificate / "key")
    if ciphers:
        ctx.set_ciphers(ciphers)
        ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    return ctx


@pytest.fixture(scope="module")
def tls(certificate):
    return context(certificate)


@pytest.fixture(scope="module")
def broken(certificate):
    """No cipher in common."""
    return context(certificate, "PSK")


def deliver(kumod, sink, tls, path, n=1, reply=None, want=("Delivery",), queue="retry_interval = '1m'"):
    s = sink(reply, tls=tls, caps=("PIPELINING", "8BITMIME", "AUTH PLAIN"))
    k = kumod("PATH = { connection_limit = 1, max_deliveries_per_connection = 1, %s }; QUEUE = { %s }\n" % (path, queue) + BASE, sink_port=s.port)
    c = k.client()
    for i in range(n):
        assert c.mail("r%d@a.example" % i).startswith("250")
        kind = want[min(i, len(want) - 1)]
        assert k.wait_records(kind, want[:i + 1].count(kind) or 1, 8), k.records()
    return s, [r for r in k.records() if r["type"] != "Reception"]


@pytest.mark.parametrize("path, cipher, version", [("", "TLS13_", "TLSv1_3"), ("tls_prefer_openssl = true,", "TLS_", "TLSv1.3"),
                                                   ("tls_prefer_openssl = true, openssl_options = 'NO_TLSV1_3', openssl_cipher_list = 'ECDHE-RSA-AES128-GCM-SHA256',", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLSv1.2"),
                                                   ("tls_prefer_openssl = true, openssl_cipher_suites = 'TLS_CHACHA20_POLY1305_SHA256',", "TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3"),
                                                   ("rustls_cipher_suites = { 'TLS13_AES_128_GCM_SHA256' },", "TLS13_AES_128_GCM_SHA256", "TLSv1_3"),
                                                   ("rustls_cipher_suites = { 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256' },", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLSv1_2")])
def test_what_was_negotiated(kumod, sink, tls, path, cipher, version):
    """The record names it as the library does that upstream would have used."""
    s, r = deliver(kumod, sink, tls, path + "enable_tls = 'OpportunisticInsecure'")
    assert r[0]["tls_cipher"].startswith(cipher) and r[0]["tls_protocol_version"] == version, r[0]
    assert r[0]["tls_peer_subject_name"] == ["O=Sink", "CN=mx.a.example"]


def test_the_same_host_again_in_the_clear(kumod, sink, tls):
    """opportunistic_tls_reconnect_on_failed_handshake; for a while the site is not asked for TLS again."""
    s, r = deliver(kumod, sink, tls, "enable_tls = 'Opportunistic', opportunistic_tls_reconnect_on_failed_handshake = true", n=2, want=("Delivery", "Delivery"))
    assert [x["type"] for x in r] == ["Delivery", "Delivery"] and not any("tls_cipher" in x for x in r)
    assert s.commands.count("STARTTLS") == 1


@pytest.mark.parametrize("on", [True, False])
def test_opportunistic_tls_reconnect_on_failed_handshake(kumod, sink, broken, on):
    path = "enable_tls = 'OpportunisticInsecure', opportunistic_tls_reconnect_on_failed_handshake = %s" % str(on).lower()
    s, r = deliver(kumod, sink, broken, path, want=("Delivery" if on else "TransientFailure",))
    assert "STARTTLS" in s.commands and not s.ciphers and len(s.messages) == on


def test_remember_broken_tls(kumod, sink, tls):
    s, r = deliver(kumod, sink, tls, "enable_tls = 'Opportunistic', remember_broken_tls = '1 hour'", n=2, want=("TransientFailure", "Delivery"))
    assert [x["type"] for x in r] == ["TransientFailure", "Delivery"] and s.commands.count("STARTTLS") == 1
    s, r = deliver(kumod, sink, tls, "enable_tls = 'Opportunistic'", n=2, want=("TransientFailure", "TransientFailure"))
    assert "Delivery" not in [x["type"] for x in r]


AUTH = "smtp_auth_plain_username = 'user', smtp_auth_plain_password = { key_data = 'secret' }, "


def test_credentials_need_a_peer_that_is_known(kumod, sink, tls):
    def reply(verb, line):
        if verb == "AUTH":
            return "235 2.7.0 ok"
    s, r = deliver(kumod, sink, tls, AUTH + "enable_tls = 'RequiredInsecure'", reply=reply, want=("TransientFailure",))
    assert "TLS peer certificate was not validated" in r[0]["response"]["content"] and not [c for c in s.commands if c.startswith("AUTH")]
    s, r = deliver(kumod, sink, tls, AUTH + "enable_tls = 'RequiredInsecure', allow_smtp_auth_plain_without_valid_certificate = true", reply=reply)
    assert "AUTH PLAIN AHVzZXIAc2VjcmV0" in s.commands and r[0]["type"] == "Delivery"
