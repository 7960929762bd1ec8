"""Everything at once: random operator's orders, policies, next servers, transfers between two nodes and restarts under load; then each recipient is accounted for.

Each accepted recipient has arrived, or has a final record that says why not: exactly one, and a pair of XferOut and XferIn for each transfer. After
kill -9, what came last may be missing in the logs and may arrive twice; it may not be lost. How many arrived twice is printed: a connection that is
aborted, or cut off by a stop, cannot know.

    CHAOS_ROUNDS=20 CHAOS_SEED=100 python3 -m pytest -s tests/crash/test_chaos.py      rounds with the seeds 100 ... 119"""
import collections, contextlib, glob, json, os, random, re, signal, socket, threading, time
import pytest
from kumotest import PRELUDE, Client, wait_for

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "0"))
SEED = int(os.environ.get("CHAOS_SEED", "60"))
LOAD_S = float(os.environ.get("CHAOS_SECONDS", "4"))
FINAL = {"Delivery", "Bounce", "Expiration", "AdminBounce", "XferOut"}
# the policy asks `calm` whenever it might do mischief; OPT comes from the seed
POLICY = PRELUDE + r'''
local function calm() local f = io.open(DIR .. '/calm') if f then f:close() return true end end
local function luck(p) return not calm() and math.random() < p end
local function pick(t) return t[math.random(#t)] end
local function append(file, text) local f = io.open(DIR .. '/' .. file, 'a') f:write(text .. '\n') f:close() end
kumo.on('init', function()
  kumo.dns.configure_test_resolver { zone 'a.example', zone 'b.example', zone 'c.example', zone 'd.example' }
  for _, n in ipairs { 'data', 'meta' } do
    kumo.define_spool { name = n, path = DIR .. '/spool/' .. n, kind = OPT.kind, flush = OPT.flush }
  end
  kumo.configure_local_logs { log_dir = DIR .. '/logs', max_segment_duration = '1s' }
  if OPT.hook then kumo.configure_log_hook { name = 'hook' } end
  if OPT.hard_limit then kumo.set_memory_hard_limit(OPT.hard_limit) end
  kumo.start_esmtp_listener { listen = '127.0.0.1:0', hostname = 'mta.example', relay_hosts = { '127.0.0.1' }, batch_handling = OPT.batch,
    deferred_spool = OPT.deferred_spool, deferred_queue = OPT.deferred_queue }
  kumo.start_http_listener { listen = '127.0.0.1:0' }
end)
kumo.on('should_enqueue_log_record', function(msg) msg:set_meta('queue', 'hook.example') return true end)
local function mark(msg)
  local user = msg:recipient_list()[1].user
  local h = #user * 7 + string.byte(user, -1)
  if h % 3 == 0 then msg:set_meta('tenant', 't' .. h % 4) end
  if h % 5 == 0 then msg:set_meta('campaign', 'c' .. h % 2) end
  if h % 11 == 0 then msg:set_meta('routing_domain', 'd.example') end
end
kumo.on('smtp_server_message_received', mark)
kumo.on('http_message_generated', mark)
kumo.on('smtp_server_message_deferred_inject', mark)
kumo.on('get_queue_config', function(domain, tenant, campaign, routing)
  if domain == 'hook.example' then
    return kumo.make_queue_config { retry_interval = '1s', max_retry_interval = '1s', protocol = { custom_lua = { constructor = 'make.hook' } } }
  end
  if luck(0.05) then error 'no configuration today' end
  if luck(0.1) then kumo.sleep(0.05) end
  local q = { retry_interval = '1s', max_retry_interval = pick { '1s', '2s' }, max_age = not OPT.killing and luck(0.1) and '3s' or '1h', reap_interval = '1s',
    egress_pool = pick { 'p1', 'p2', 'p3', luck(0.1) and 'none' or 'p1' }, refresh_strategy = pick { 'Epoch', 'Ttl' }, refresh_interval = '1s' }
  if luck(0.2) then q.max_message_rate = pick { '20/s', '100/s' } end
  if luck(0.15) then q.protocol = pick { { maildir_path = DIR .. '/maildir/{{ local_part }}@{{ domain_part }}' }, { custom_lua = { constructor = 'make.lua' } },
    { custom_lua = { constructor = 'make.lua', batch_size = 5, min_batch_size = 3, max_batch_latency = '200ms' } } } end
  return kumo.make_queue_config(q)
end)
kumo.on('get_egress_pool', function(name)
  if luck(0.05) then error 'no pool today' end
  local e = { p1 = { { name = 's1' } }, p2 = { { name = 's1', weight = 2 }, { name = 's2' } }, p3 = { { name = 's3' }, { name = 's2' } }, none = {} }
  return kumo.make_egress_pool { name = name, entries = e[name] }
end)
kumo.on('get_egress_source', function(name) return kumo.make_egress_source { name = name } end)
kumo.on('get_egress_path_config', function(domain, source)
  if luck(0.05) then error 'no path today' end
  if luck(0.1) then kumo.sleep(0.05) end
  return kumo.make_egress_path { smtp_port = source == 's3' and LMTP or SINK, use_lmtp = source == 's3', prohibited_hosts = {}, enable_tls = 'Disabled',
    connection_limit = pick { 1, 4, 8 }, idle_timeout = '1s', max_ready = calm() and 1000 or pick { 1, 10, 1000 }, max_deliveries_per_connection = pick { 1, 5, 100 },
    max_connection_rate = luck(0.1) and '20/s' or nil, max_message_rate = luck(0.1) and '50/s' or nil, refresh_strategy = pick { 'Epoch', 'Ttl' }, refresh_interval = '1s',
    consecutive_connection_failures_before_delay = pick { 3, 1000 }, data_timeout = '5s', data_dot_timeout = '30s', mail_from_timeout = '5s', rcpt_to_timeout = '5s',
    system_shutdown_timeout = OPT.shutdown,
    banner_timeout = '5s', ehlo_timeout = '5s', aggressive_connection_opening = luck(0.1) }
end)
local function say(p)
  if luck(p) then error 'on purpose' end
  if luck(p) then kumo.reject(451, 'later') end
  if luck(p) then kumo.sleep(0.05) end
end
local function sender(file, p)
  local c = {}
  local function took(msg) for _, r in ipairs(msg:recipient_list()) do append(file, r.email) end end
  function c:send(msg) say(p) if not OPT.killing and luck(p / 2) then kumo.reject(550, 'no') end took(msg) return 'ok' end
  function c:send_batch(msgs) say(p) for _, m in ipairs(msgs) do took(m) end return 'ok' end
  if luck(0.5) then function c:close() if luck(0.1) then error 'closing' end end end
  return c
end
kumo.on('make.lua', function() if luck(0.1) then error 'no sender today' end return sender('lua', 0.2) end)
kumo.on('make.hook', function()
  local c = {}
  function c:send(msg) say(0.3) local r = msg:get_meta 'log_record' append('hooked', r.type .. ' ' .. r.id) return 'ok' end
  return c
end)
if OPT.throttle then kumo.on('throttle_insert_ready_queue', function(msg)
  if luck(0.1) then error 'throttled' end
  if luck(0.1) then msg:set_due((os.date('!%Y-%m-%dT%H:%M:%SZ', os.time() + 1))) end
end) end
if OPT.requeue then kumo.on('requeue_message', function(msg, response, why, increment, delay)
  if luck(0.05) then error 'requeue' end
  if not OPT.killing and luck(0.02) then kumo.reject(550, 'enough') end
  if luck(0.2) then msg:set_meta('tenant', pick { 't1', 't2', 'r1' }) end
  if luck(0.02) then msg:set_meta('queue', 'q' .. math.random(3) .. '@a.example') end
end) end
kumo.on('rebind_message', function(msg, data)
  if luck(0.05) then error 'rebind' end
  msg:set_meta('tenant', data.tenant)
  if luck(0.3) then msg:set_meta('routing_domain', pick { 'a.example', 'b.example' }) end
end)
'''
REPLIES = ["451 4.7.1 later", "421 4.3.2 bye", "550 5.1.1 no such user", "554 5.7.1 spam", "close", "garbage", "299 odd"]


class ChaosSink:
    """SMTP or LMTP. Notes what it has said yes to, once the answer is on its way."""
    def __init__(self, seed, lmtp, killing):
        self.killing = killing
        self.rng, self.lmtp, self.calm, self.rcpts, self.refused, self.lock = random.Random(seed), lmtp, False, collections.Counter(), set(), threading.Lock()
        self.s = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.port = self.s.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=(self.s.accept()[0],), daemon=True).start()

    def luck(self, share):
        with self.lock:
            return None if self.calm or self.rng.random() > share else self.rng.choice(REPLIES)

    def say(self, k, text, share):
        r = self.luck(share)
        if r == "close" or (r and not r[0].isdigit() and share < 0.1):
            raise OSError
        k.sendall((r or text).encode() + b"\r\n")
        return r or text

    def take(self, k, rcpts):
        """The answers to a text: one, or with LMTP one for each recipient."""
        for i, group in enumerate([[r] for r in rcpts] if self.lmtp else [rcpts]):
            r = self.luck(0.25)
            if r and i > 0 and not r[0].isdigit():     # those before it would have to be sent again
                r = "451 4.7.1 later"
            if r == "close":
                raise OSError
            if not r:
                with self.lock:
                    self.rcpts.update(group)
            if r and r[0] == "5":
                self.refused.update(group)
            k.sendall((r or "250 2.0.0 queued").encode() + b"\r\n")
            if r and r.startswith("299"):
                with self.lock:
                    self.rcpts.update(group)

    def serve(self, k):
        k.settimeout(60)
        k.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            self.say(k, "220 sink", 0 if self.killing else 0.03)
            rcpts, mail, f = [], False, k.makefile("rb")
            while raw := f.readline():
                line = raw.decode("latin-1").rstrip("\r\n")
                verb = line[:4].upper()
                if verb in ("EHLO", "LHLO"):
                    if self.say(k, "250-sink\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES", 0 if self.killing else 0.03):
                        rcpts = []
                elif verb == "MAIL":
                    rcpts = []
                    mail = self.say(k, "250 2.1.0 ok", 0 if self.killing else 0.1)[0] == "2"
                elif verb == "RCPT" and not mail:
                    k.sendall(b"503 5.5.1 MAIL first\r\n")
                elif verb == "RCPT":
                    a, r = re.search("<(.*?)>", line).group(1), self.say(k, "250 2.1.5 ok", 0.15)
                    if r[0] == "2":
                        rcpts.append(a)
                    elif r[0] == "5":
                        self.refused.add(a)
                elif verb == "DATA":
                    if not rcpts:
                        k.sendall(b"503 5.5.1 no recipients\r\n")
                        continue
                    r = self.luck(0.05 if not self.killing else 0)
                    if r == "close" or (r and r[0] in "2g"):
                        raise OSError
                    k.sendall((r or "354 go").encode() + b"\r\n")
                    if r:
                        continue
                    while (l := f.readline()) != b".\r\n":
                        if not l:
                            raise OSError
                    self.take(k, rcpts)
                    rcpts = []
                elif verb == "QUIT":
                    k.sendall(b"221 bye\r\n")
                    break
                else:
                    rcpts = []
                    k.sendall(b"250 ok\r\n")
        with contextlib.suppress(OSError):
            k.close()

    def close(self):
        self.s.close()


def lua(v):
    return {True: "true", False: "false", None: "nil"}[v] if v is None or isinstance(v, bool) else "'%s'" % v if isinstance(v, str) else str(v)


class Round:
    def __init__(self, kumod, seed, killing):
        self.rng, self.seed, self.killing = random.Random(seed), seed, killing
        r = self.rng
        self.opt = {"killing": killing, "kind": r.choice(["RocksDB", "LocalDisk"]), "flush": r.random() < 0.3, "hook": r.random() < 0.4, "batch": r.choice(["BifurcateAlways", "BatchByDomain"]),
                    "deferred_spool": not killing and r.random() < 0.3, "deferred_queue": r.random() < 0.2, "throttle": r.random() < 0.4, "requeue": r.random() < 0.5,
                    "hard_limit": r.choice([None, None, 300 << 20, 100 << 20]), "shutdown": r.choice(["20s", "20s", "0s"]), "aborts": r.random() < 0.3}
        self.sinks = [ChaosSink(seed * 10, False, killing), ChaosSink(seed * 10 + 1, True, killing)]
        text = "local OPT = { %s }\n" % ", ".join("%s = %s" % (k, lua(v)) for k, v in self.opt.items()) + "local LMTP = %d\n" % self.sinks[1].port + POLICY
        self.nodes = [kumod(text, sink_port=self.sinks[0].port) for _ in range(2)]
        self.deferred, self.accepted, self.maybe, self.stop, self.next, self.lock = set(), [], [], threading.Event(), 0, threading.Lock()
        self.down = threading.Lock()

    def names(self, n, domain=None):
        with self.lock:
            first = self.next
            self.next += n
            return ["r%d@%s.example" % (first + i, domain or self.rng.choice("aaabcd")) for i in range(n)]

    def smtp_load(self, rng):
        c = None
        while not self.stop.is_set():
            try:
                c = c or Client(self.nodes[0].ports["smtp"])
                rcpts = self.names(rng.choice([1, 1, 1, 2, 5, 20]))
                r = c.mail(rcpts, b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * rng.choice([1, 10, 100, 5000]))
                if r.startswith("250"):
                    assert "PARTIAL" not in r, r
                    self.accepted += rcpts
                else:
                    c = None
                    time.sleep(0.05)
            except (OSError, KeyError, IndexError):
                self.maybe += rcpts if c else []
                c = None
                time.sleep(0.05)
            time.sleep(rng.choice([0, 0, 0.05]))

    def http_load(self, rng):
        while not self.stop.is_set():
            rcpts = self.names(rng.choice([1, 3, 10]))
            deferred = rng.random() < 0.3
            try:
                status, text = self.nodes[0].http("POST", "/api/inject/v1", {"envelope_sender": "s@from.example", "content": "Subject: x\n\nhello {{ email }}\n", "deferred_generation": deferred,
                                                                             "deferred_spool": self.opt["deferred_spool"], "recipients": [{"email": a} for a in rcpts]})
                if status == 200:
                    failed = json.loads(text)["failed_recipients"]
                    self.accepted += [a for a in rcpts if a not in failed]
                    self.deferred.update(rcpts if deferred else [])
            except (OSError, KeyError, ValueError):
                self.maybe += rcpts
            except Exception:
                self.maybe += rcpts
            time.sleep(rng.choice([0, 0.05, 0.2]))

    def order(self, rng):
        """One order of an operator to one of the nodes."""
        a, b = self.nodes if rng.random() < 0.7 else self.nodes[::-1]
        some = rng.choice([{}, {"domain": rng.choice(["a.example", "b.example", "c.example"])}, {"tenant": "t%d" % rng.randrange(4)}, {"campaign": "c%d" % rng.randrange(2)}])
        url = "http://127.0.0.1:%d" % b.ports["http"]
        kind = rng.choice(["rebind", "rebind", "bounce", "suspend", "suspend-ready-q", "bump", "bump", "xfer", "xfer", "cancel", "abort", "conf", "compact"])
        if kind == "rebind":
            a.http("POST", "/api/admin/rebind/v1", {"reason": "chaos", "data": {"tenant": "t%d" % rng.randrange(4)}, "trigger_rebind_event": rng.random() < 0.3, "always_flush": rng.random() < 0.5, **some})
        elif kind == "bounce" and not self.killing and (some or rng.random() < 0.2):
            a.http("POST", "/api/admin/bounce/v1", {"reason": "chaos", "duration": rng.choice(["0s", "300ms"]), **some})
        elif kind == "suspend":
            a.http("POST", "/api/admin/suspend/v1", {"reason": "chaos", "duration": "1s", **some})
        elif kind == "suspend-ready-q":
            a.http("POST", "/api/admin/suspend-ready-q/v1", {"reason": "chaos", "duration": "1s", "name": "s%d->mx.%s.example@smtp_client" % (rng.randrange(1, 4), rng.choice("abcd"))})
        elif kind == "bump":
            a.http("POST", "/api/admin/bump-config-epoch")
        elif kind == "xfer":
            a.http("POST", "/api/admin/xfer/v1", {"reason": "chaos", "target": url, **some})
        elif kind == "cancel":
            a.http("POST", "/api/admin/xfer/cancel/v1", {"reason": "chaos", "queue_name": url + "/.xfer.kumomta.internal"})
        elif kind == "abort" and self.opt["aborts"]:
            status, text = a.http("GET", "/api/admin/inspect-ready-q/v1?queue_name=s1-%3Emx.a.example@smtp_client")
            for c in (json.loads(text).get("connections", []) if status == 200 else [])[:1]:
                a.http("POST", "/api/admin/abort-ready-q-conn/v1", {"ready_queue_name": "s1->mx.a.example@smtp_client", "session_id": c["session_id"], "reason": "chaos"})
        elif kind == "compact":
            a.http("POST", "/api/admin/spool-compact/v1", {})
        return kind

    def orders(self, rng):
        while not self.stop.is_set():
            with self.down:
                try:
                    self.order(rng)
                except (OSError, KeyError):
                    pass
                except Exception as e:
                    print("order", repr(e))
            time.sleep(rng.uniform(0, 0.15))

    def restart(self, rng, node, kill):
        with self.down:
            if kill:
                node.p.send_signal(signal.SIGKILL)
                node.p.wait()
            else:
                assert node.stop() == 0, node.stderr()[-2000:]
            node.start()

    def run(self):
        rng = self.rng
        jobs = [threading.Thread(target=f, args=(random.Random(self.seed * 100 + i),)) for i, f in enumerate([self.smtp_load] * 3 + [self.http_load, self.orders])]
        [j.start() for j in jobs]
        end = time.time() + LOAD_S
        try:
            while time.time() < end:
                time.sleep(rng.uniform(0.3, 1.5))
                if rng.random() < 0.7:
                    self.restart(rng, rng.choice([self.nodes[0], *self.nodes]), self.killing and rng.random() < 0.7)
        finally:
            self.stop.set()
            [j.join() for j in jobs]
        return self

    def quiet(self):
        """Everything works now: until both nodes have nothing left, not even in hand (which no metric shows: Lua's garbage counts as messages too)."""
        for s in self.sinks:
            s.calm = True
        for n in self.nodes:
            open(n.dir + "/calm", "w").close()
            n.http("POST", "/api/admin/bump-config-epoch")
        end, empty = time.time() + 60, 0
        while time.time() < end and empty < 3:
            values = [self.counts(n) for n in self.nodes]
            left = sum(total for total, _ in values)
            empty = 0 if left else empty + 1
            for n, (total, queues) in zip(self.nodes, values):
                for q in queues:
                    if total and q.endswith(".xfer.kumomta.internal"):
                        n.http("POST", "/api/admin/xfer/cancel/v1", {"reason": "calm", "queue_name": q})
                if total:
                    n.http("POST", "/api/admin/rebind/v1", {"reason": "calm", "data": {}, "always_flush": True, "suppress_logging": True})
            time.sleep(0.4)
        return empty == 3

    @staticmethod
    def counts(n):
        """How many messages wait, with one for each fiber that may have some in hand; the scheduled queues that are not empty."""
        m = [re.match(r'(scheduled_count|ready_count|scheduled_count_total)(?:\{\w+="(.*?)"\})? (\d+)', l) for l in n.http("GET", "/metrics")[1].splitlines()]
        hands = re.findall(r"^  (?:admin |queue drain|set aside|dispatcher|ready queue|throttled|log hook)", n.http("GET", "/api/admin/task-dump")[1], re.M)
        return len(hands) + sum(int(x[3]) for x in m if x and x[1] != "scheduled_count"), [x[2] for x in m if x and x[1] == "scheduled_count" and x[3] != "0"]

    def check(self):
        calm = self.quiet()
        for n in self.nodes:
            assert n.stop() == 0
        ends, ins, received, details = collections.defaultdict(list), collections.Counter(), collections.Counter(), collections.defaultdict(list)
        self.requests_ended = False
        for n in self.nodes:
            for r in n.records():
                self.requests_ended |= r["recipient"] == "" and r["type"] in FINAL - {"Delivery", "XferOut"}
                if r.get("reception_protocol") == "LogRecord":
                    continue
                for a in [r["recipient"]] if isinstance(r["recipient"], str) else r["recipient"]:
                    details[a].append((r["timestamp"], self.nodes.index(n), r["type"], r["id"], r["queue"], r["response"]["code"], r["response"]["content"][:300]))
                    if r["type"] in FINAL:
                        ends[a].append(r["type"])
                    ins[a] += r["type"] == "XferIn"
                    received[a] += r["type"] == "Reception"
        arrived = collections.Counter()
        for s in self.sinks:
            arrived.update(s.rcpts)
        for n in self.nodes:
            with contextlib.suppress(OSError):
                arrived.update(open(n.dir + "/lua").read().split())
            for m in glob.glob(n.dir + "/maildir/*/new/*"):
                arrived[m.split("/")[-3]] += 1
        bad = []
        for a in sorted(set(self.accepted)):
            t = ends[a]
            if not t and a in self.deferred and self.requests_ended:    # the request itself bounced or expired
                continue
            last = [x for x in t if x != "XferOut"]
            if self.killing:
                if not arrived[a] and not last and not any(a in s.refused for s in self.sinks):
                    bad.append(("LOST", a))
                continue
            if not t or not last:
                bad.append(("NO RECORD", a))
            elif len(last) > 1:
                bad.append(("MANY RECORDS", a))
            if len(t) - len(last) != ins[a]:
                bad.append(("XFER PAIRS", a))
            if received[a] != 1:
                bad.append(("RECEPTIONS %d" % received[a], a))
        if bad:
            for n in self.nodes:
                n.start()
                print("after it:", re.findall(r"\d+ messages found.*", n.stderr().rsplit("http listener", 1)[1]))
        print("seed %d %s: %s; accepted %d, arrived %d, doubled %d, ends %s, calm %s, bad %d %s" % (
            self.seed, "kill" if self.killing else "stop", {k: v for k, v in self.opt.items() if v}, len(self.accepted), len(arrived), sum(n > 1 for n in arrived.values()),
            dict(collections.Counter(x for a in set(self.accepted) for x in ends[a])), calm, len(bad), dict(collections.Counter(b[0] for b in bad))))
        for what, a in [b for w in sorted({b[0] for b in bad}) for b in [b for b in bad if b[0] == w][:3]]:
            print(what, a, "arrived", arrived[a], "deferred" if a in self.deferred else "")
            for d in sorted(details[a]):
                print("    ", d)
        self.bad, self.calm = bad, calm
        return bad


@pytest.mark.parametrize("killing", [False, True], ids=["stop", "kill"])
@pytest.mark.parametrize("seed", range(SEED, SEED + (ROUNDS or 1)))
def test_chaos(kumod, seed, killing):
    r = Round(kumod, seed, killing)
    try:
        bad = r.run().check()
        assert not bad and r.calm, bad[:10]
    finally:
        for s in r.sinks:
            s.close()
