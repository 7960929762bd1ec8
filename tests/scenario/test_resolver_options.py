"""What the options of a resolver do to the questions that a name server is asked."""
import socket, threading
import pytest
from kumotest import run_kumod


class Server:
    """Answers every question with A 192.0.2.1 and remembers how it was asked: (client, name, UDP size)."""

    def __init__(self):
        import dns.flags, dns.message, dns.rrset
        self.asked = []
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind(("127.0.0.1", 0))
        self.addr = "127.0.0.1:%d" % self.s.getsockname()[1]

        def serve():
            while True:
                try:
                    data, peer = self.s.recvfrom(4096)
                except OSError:
                    return
                q = dns.message.from_wire(data)
                name = q.question[0].name
                self.asked.append((peer[0], name.to_text(), q.payload))
                r = dns.message.make_response(q)
                r.flags |= dns.flags.RA | dns.flags.AA
                if q.question[0].rdtype == 1:
                    r.answer.append(dns.rrset.from_text(name, 300, "IN", "A", "192.0.2.1"))
                self.s.sendto(r.to_wire(), peer)
        threading.Thread(target=serve, daemon=True).start()


def ask(server="socket_addr = ADDR", options=""):
    """(the questions, what stderr says) of looking up a name."""
    pytest.importorskip("dns")
    s = Server()
    status, out, err = run_kumod("""
    local kumo = require 'kumo'
    local ADDR = '%s'
    kumo.on('main', function()
      kumo.dns.configure_resolver { name_servers = { { %s } }, options = { use_hosts_file = 'Never', timeout = '5s', %s } }
      print(kumo.dns.lookup_addr('some.long.name.of.a.host.places.net', nil, 'Ipv4Only')[1])
    end)""" % (s.addr, server, options), "--script")
    s.s.close()
    assert status != 0 or out.strip() == "192.0.2.1", (out, err)
    return [q for q in s.asked if q[1].lower() == "some.long.name.of.a.host.places.net."], err


def test_defaults():
    asked, err = ask()
    assert asked, err
    assert {q[0] for q in asked} == {"127.0.0.1"}
    assert all(q[1] == q[1].lower() and q[2] > 512 for q in asked)


def test_options():
    asked, err = ask(options="edns0 = false")
    assert {q[2] for q in asked} == {512}, err
    asked, err = ask(options="case_randomization = true")
    assert any(q[1] != q[1].lower() for q in asked), err
    asked, err = ask(server="socket_addr = ADDR, bind_addr = '127.0.0.3:0'")
    assert {q[0] for q in asked} == {"127.0.0.3"}, err


def test_what_cannot_work_is_told():
    assert "bind_addr of a name server: 'nowhere' is no IP:PORT" in ask(server="socket_addr = ADDR, bind_addr = 'nowhere'")[1]
    assert "trust_anchor_file /nonexistent: No such file or directory" in ask(options="trust_anchor_file = '/nonexistent'")[1]
