"""Postfix itself, run from the unpacked package under users that every Debian has; it is stopped and gone afterwards."""
import os, shutil, signal, subprocess, tempfile, time
from peers import cpu_seconds, free_port, wait_port

MAIN = """compatibility_level = 3.6
queue_directory = {dir}/spool
data_directory = {dir}/data
daemon_directory = {root}/usr/lib/postfix/sbin
command_directory = {root}/usr/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {dir}/etc
mail_owner = backup
setgid_group = games
default_privs = nobody
myhostname = mta.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink}
smtp_connection_cache_on_demand = yes
default_process_limit = 100
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_peername_lookup = no
smtp_tls_security_level = none
alias_maps =
local_recipient_maps =
maillog_file = {dir}/log/maillog
maillog_file_prefixes = {dir}
import_environment = MAIL_CONFIG LD_LIBRARY_PATH={root}/usr/lib/postfix
export_environment = LD_LIBRARY_PATH={root}/usr/lib/postfix
"""
MASTER = """127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def processes_below(pid):
    found, todo = [], [pid]
    while todo:
        p = todo.pop()
        found.append(p)
        try:
            todo += [int(c) for c in open("/proc/%d/task/%d/children" % (p, p)).read().split()]
        except OSError:
            pass
    return found


def memory_kb(pid):
    try:
        for line in open("/proc/%d/smaps_rollup" % pid):
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


class PostfixRun:
    def __init__(self, tools, bin_dir, scratch, sink_port, **opts):
        self.tools, self.port = tools, free_port()
        self.dir = tempfile.mkdtemp(prefix="pf-", dir=scratch)
        os.chmod(self.dir, 0o755)
        for d in ("etc", "spool", "data", "log"):
            os.mkdir(os.path.join(self.dir, d))
        shutil.chown(os.path.join(self.dir, "data"), "backup")
        for name, text in (("main.cf", MAIN), ("master.cf", MASTER)):
            with open(os.path.join(self.dir, "etc", name), "w") as f:
                f.write(text.format(dir=self.dir, root=tools.root, sink=sink_port, port=self.port))
        for d in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"):
            os.mkdir(os.path.join(self.dir, "spool", d), 0o700)
            shutil.chown(os.path.join(self.dir, "spool", d), "backup")
        for d, mode in (("maildrop", 0o730), ("public", 0o710)):
            os.mkdir(os.path.join(self.dir, "spool", d))
            shutil.chown(os.path.join(self.dir, "spool", d), "backup", "games")
            os.chmod(os.path.join(self.dir, "spool", d), mode)
        os.mkdir(os.path.join(self.dir, "spool", "pid"))

    def start(self):
        env = dict(self.tools.env, MAIL_CONFIG=os.path.join(self.dir, "etc"))
        self.p = subprocess.Popen([os.path.join(self.tools.root, "usr/lib/postfix/sbin/master"), "-d", "-c", os.path.join(self.dir, "etc")], env=env, start_new_session=True,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_port(self.port)

    def waiting(self):
        return sum(len(files) for q in ("incoming", "active", "deferred", "maildrop") for _, _, files in os.walk(os.path.join(self.dir, "spool", q)))

    def wait_delivered(self, n, timeout=300):
        end = time.time() + timeout
        while self.waiting() > 0:
            if time.time() > end:
                raise RuntimeError("Postfix still has %d messages" % self.waiting())
            time.sleep(0.05)

    def cpu(self):
        return sum(cpu_seconds(p) for p in processes_below(self.p.pid))

    def measure(self, load, n):
        cpu, t = self.cpu(), time.time()
        load()
        memory = sum(memory_kb(p) for p in processes_below(self.p.pid)) / 1024
        self.wait_delivered(n)
        wall = time.time() - t
        return {"msgs_per_s": n / wall, "cpu_s_per_10k": (self.cpu() - cpu) * 10000 / n, "peak_rss_mb": memory}

    def stop(self):
        pids = processes_below(self.p.pid)
        self.p.send_signal(signal.SIGTERM)
        try:
            self.p.wait(20)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
        for p in pids:
            try:
                os.kill(p, signal.SIGKILL)
            except OSError:
                pass
