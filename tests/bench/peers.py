"""Postfix's smtp-source and smtp-sink, unpacked from Debian's package, as the two ends of a measurement."""
import glob, os, re, socket, subprocess, tempfile, time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, timeout=20):
    end = time.time() + timeout
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError("nothing listens on port %d" % port)


def cpu_seconds(pid):
    """user + system time of a process and of the children it has waited for."""
    f = open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()
    return sum(int(x) for x in f[11:15]) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", open("/proc/%d/status" % pid).read()).group(1)) / 1024


def rss_mb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open("/proc/%d/status" % pid).read()).group(1)) / 1024


class Tools:
    def __init__(self, scratch):
        self.root = os.path.join(scratch, "postfix")
        subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", "-q", "postfix"], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["dpkg-deb", "-x", glob.glob(os.path.join(scratch, "postfix_*.deb"))[0], self.root], check=True)
        self.env = dict(os.environ, LD_LIBRARY_PATH=os.path.join(self.root, "usr/lib/postfix"))

    def program(self, name):
        return os.path.join(self.root, "usr/sbin", name)

    def sink(self, *args):
        return Sink(self, args)

    def source(self, port, n, sessions, size, reuse, rcpt="r@a.example"):
        cmd = [self.program("smtp-source"), "-s", str(sessions), "-m", str(n), "-l", str(size), "-f", "s@from.example", "-t", rcpt] + (["-d"] if reuse else [])
        subprocess.run(cmd + ["127.0.0.1:%d" % port], env=self.env, check=True, timeout=600)


class Sink:
    def __init__(self, tools, args):
        self.port = free_port()
        log = tempfile.TemporaryFile()
        self.p = subprocess.Popen([tools.program("smtp-sink"), "-m", "20000", *args, "-u", "nobody", "127.0.0.1:%d" % self.port, "4096"], env=tools.env,
                                  stdout=subprocess.DEVNULL, stderr=log)
        try:
            wait_port(self.port)
        except RuntimeError:
            self.stop()
            log.seek(0)
            raise RuntimeError("smtp-sink does not start: " + log.read().decode("utf-8", "replace").strip())

    def stop(self):
        self.p.kill()
        self.p.wait()
