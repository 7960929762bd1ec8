"""Each accepted recipient ends in exactly one final record, whatever the next server says, also over a restart and a batch."""
import collections, os, random
import pytest
from kumotest import BASE, wait_for

FINAL = {"Delivery", "Bounce", "Expiration", "AdminBounce", "XferOut"}
MESSAGES = int(os.environ.get("RECORD_MESSAGES", "150"))
REPLIES = ["451 4.7.1 later", "452 4.2.2 full", "421 4.3.2 bye", "550 5.1.1 no such user", "552 5.2.2 no", "554 5.7.1 spam", "close", "garbage", "250", "299 odd", "354 odd"]


@pytest.mark.parametrize("seed, batch", [(1, "BifurcateAlways"), (2, "BatchByDomain"), (3, "BatchByDomain")])
def test_exactly_one_final_record(kumod, sink, seed, batch):
    rng = random.Random(seed)
    kind = {"on": True}

    def reply(verb, line):
        # at the connection rarely, or nothing would come further
        if not kind["on"] or rng.random() > {"CONNECT": 0.05, "EHLO": 0.05, "QUIT": 0.2}.get(verb, 0.25):
            return None
        r = rng.choice(REPLIES)
        return None if (verb == "DATA" and r[0] == "2") or (r == "354 odd" and verb != "DATA") else r
    s = sink(reply)
    text = "LISTENER = { batch_handling = '%s' }; QUEUE = { retry_interval = '1s', max_retry_interval = '2s', max_age = '8s' }; PATH = { connection_limit = 8, max_deliveries_per_connection = 5, consecutive_connection_failures_before_delay = 1000, data_timeout = '2s', data_dot_timeout = '2s', mail_from_timeout = '2s', rcpt_to_timeout = '2s', banner_timeout = '2s', ehlo_timeout = '2s' }\n" % batch
    k = kumod(text + BASE, sink_port=s.port)
    accepted = []

    def send(n, first):
        c = k.client()
        for i in range(n):
            rcpts = ["r%d-%d@%s.example" % (first + i, j, rng.choice("ab")) for j in range(rng.choice([1, 1, 1, 2, 5]))]
            r = c.mail(rcpts, b"Subject: x\r\n\r\n" + b"body\r\n" * rng.randrange(50))
            assert r.startswith("250"), r
            accepted.extend(rcpts)
    send(MESSAGES // 2, 0)
    assert k.stop() == 0                        # in the middle of it
    k.start()
    send(MESSAGES - MESSAGES // 2, MESSAGES)

    def finals():
        out = collections.defaultdict(list)
        for r in k.records():
            if r["type"] in FINAL:
                for a in [r["recipient"]] if isinstance(r["recipient"], str) else r["recipient"]:
                    out[a].append(r["type"])
        return out
    wait_for(lambda: len(finals()) >= len(accepted), 60, 0.5)
    assert k.stop() == 0
    f = finals()
    assert sorted(set(accepted) - set(f)) == [], "without a final record"
    assert {a: t for a, t in f.items() if len(t) != 1} == {}
    assert sorted(f) == sorted(accepted)
    received = collections.Counter(a for r in k.records() if r["type"] == "Reception" for a in ([r["recipient"]] if isinstance(r["recipient"], str) else r["recipient"]))
    assert received == collections.Counter(accepted)
    said = {a for a, t in f.items() if t == ["Delivery"]}
    wait_for(lambda: not said - set(s.rcpts), 5)    # the sink answers first and notes then
    for a in said - set(s.rcpts):
        assert False, (a, [(r["type"], r["response"]) for r in k.records() if a in r["recipient"]])
    k.start()                                   # and nothing of it is left in the spool
    assert "messages found" not in k.stderr().rsplit("listener on", 1)[1]
