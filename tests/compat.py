#!/usr/bin/python3
"""compat.py BIN_DIR [--write]: holds docs/compat.tsv, the list of every documented name, against what the programs know.

A name marked `implemented` that the program does not know fails. --write marks the names as the program knows them, and names a test for each."""
import argparse, collections, glob, json, os, re, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from kumotest import AS_ME
TABLE = os.path.join(ROOT, "docs", "compat.tsv")
PROGRAMS = {"proxy": "proxy-server", "tsa": "tsa-daemon", "proxy-server": "proxy-server", "tsa-daemon": "tsa-daemon"}
OPTIONS = {  # how each option table is reached; %s is the option under test
    "kumo.define_spool": "kumo.define_spool { %s }",
    "kumo.dns.resolver_options": "kumo.dns.configure_resolver { options = { %s } }",
    "kumo.make_listener_domain": "kumo.make_listener_domain { %s }",
}

PROBE = r'''
local kumo = require 'kumo'
local DIR = os.getenv 'COMPAT_DIR'
local function try(f, ...) local ok, v = pcall(f, ...) if ok then return v end end
local function lookup(path)
  local v
  for i, part in ipairs(kumo.string.split(path, '.')) do
    if i == 1 then
      v = part == 'kumo' and kumo or package.loaded[part] or try(require, part) or _G[part]
    elseif v ~= nil then
      v = try(function() return v[part] end)
    end
  end
  return v
end
local mail = 'From: "N" <a@b.example>\r\nTo: c@d.example\r\nSubject: x\r\nMessage-ID: <a@b>\r\nReferences: <c@d>\r\nAuthentication-Results: x.example; spf=pass\r\nContent-Type: text/plain\r\n\r\nbody\r\n'
local part = try(function() return kumo.mimepart.parse(mail) end)
local msg = try(function() return kumo.make_message('a@b.example', 'c@d.example', mail) end)
local objects = {
  message = msg, mimepart = part,
  address = try(function() return msg:sender() end),
  headermap = try(function() return part.headers end),
  ['lua:kumo.counter_series'] = try(function() return kumo.counter_series.define { name = 'x', bucket_count = 2, num_buckets = 2, bucket_size = 1, initial_value = 0 } end)
    or try(function() return kumo.counter_series.define { name = 'x', num_buckets = 2, bucket_size = 1 } end),
  addressheader = try(function() return msg:from_header() end),
}
-- pages of objects: what makes one stands for it
local MAKERS = { ['kumo.time.Time'] = 'kumo.time.now', ['kumo.time.TimeDelta'] = 'kumo.time.parse_duration', ['kumo.http.Request'] = 'kumo.http.build_client', ['kumo.http.Response'] = 'kumo.http.build_client',
  ['kumo.jsonl.LogBatch'] = 'kumo.jsonl.new_multi_tailer', ['kumo.aaa.auth_info'] = 'kumo.aaa.query_resource_access' }
local function header_has(name)
  for _, field in ipairs { 'From', 'To', 'Subject', 'Message-ID', 'References', 'Content-Type', 'Authentication-Results' } do
    local h = part.headers:get_first_named(field)
    if h and try(function() return h[name] end) ~= nil then return true end
  end
end
local function known(kind, name)
  local space = kind:match '^lua:(.*)' or ''
  if space == 'undocumented' then return lookup(name) ~= nil end
  if space:match '^policy%-extras' then return (try(require, space) or {})[name] ~= nil end
  if space ~= '' then
    if space == 'string' or space == 'regex' then space = 'kumo.' .. space end
    return lookup(MAKERS[space .. '.' .. name] or space .. '.' .. name) ~= nil or objects[kind] ~= nil and try(function() return objects[kind][name] end) ~= nil
  end
  if kind == 'method:header' then return header_has(name) end
  local object = objects[kind:match '^method:(.*)']
  if object then return try(function() return object[name] end) ~= nil end
  local make = kind:match '^option:(.*)'
  if make then
    make = make:gsub('^undocumented%.', 'kumo.')
    local text = (OPTIONS[make] or make .. ' { %s }'):gsub('%%s', name .. ' = function() end')
    local ok, err = pcall(load('local kumo = require "kumo" ' .. text))
    return lookup(make:match 'resolver_options' and 'kumo.dns.configure_resolver' or make) ~= nil and not tostring(err):match('unknown field `' .. name .. '`')
  end
  if kind == 'template' then
    local text = ({ cycler = '{% set c = cycler(["a"]) %}{{ c.next() }}', joiner = '{% set j = joiner(",") %}{{ j() }}', now = '{{ now() }}', normalize_smtp_response = '{{ "a"|normalize_smtp_response }}', pluralize = '{{ 1|pluralize }}',
      filesizeformat = '{{ 5|filesizeformat }}' })[name] or '{{ now()|' .. name .. ' }}'
    return try(kumo.string.eval_template, 'x', text, {}) ~= nil
  end
end
kumo.on('main', function()
  for line in io.lines(DIR .. '/names') do
    local kind, name = line:match '^(.-)\t(.*)$'
    print(kind .. '\t' .. name .. '\t' .. (known(kind, name) and 1 or 0))
  end
end)
'''


def run(bin_dir, *args, **kw):
    return subprocess.run([os.path.join(bin_dir, args[0]), *args[1:]], capture_output=True, text=True, timeout=120, **kw)


def ask_lua(bin_dir, names):
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/names", "w") as f:
            f.writelines("%s\t%s\n" % n for n in names)
        with open(d + "/probe.lua", "w") as f:
            f.write("package.path = '%s/share/?.lua;' .. package.path\nOPTIONS = { %s }\n" % (ROOT, ", ".join("['%s'] = '%s'" % o for o in OPTIONS.items())) + PROBE)
        r = run(bin_dir, "kumod", "--policy", d + "/probe.lua", *AS_ME, "--script", env=dict(os.environ, COMPAT_DIR=d, KUMO_NODE_ID_PATH=d + "/id"))
        if r.returncode:
            sys.exit("compat.py: the probe failed:\n" + r.stderr)
        return {(k, n) for k, n, v in (l.split("\t") for l in r.stdout.splitlines()) if v == "1"}


def known_names(bin_dir, names):
    """Those of NAMES that the programs in BIN_DIR know."""
    paths = {"%s %s" % (m.upper(), re.sub("[^a-z0-9]+", "_", p)) for p, ms in json.loads(run(bin_dir, "kumod", "--dump-openapi-spec").stdout)["paths"].items() for m in ms}
    metrics = {m["name"] for m in json.loads(run(bin_dir, "kumod", "--dump-metric-metadata").stdout)}
    kcli = set(re.findall(r"^  ([a-z-]+) ", run(bin_dir, "kcli", "--help").stdout, re.M))
    with open(os.path.join(bin_dir, "kumod"), "rb") as f:
        words = f.read()
    lua = ask_lua(bin_dir, [n for n in names if re.match("lua:|method:|option:|template", n[0]) and not n[0].endswith((":proxy", ":tsa", "proxy.start_proxy_listener"))])
    out = set()
    for kind, name in names:
        program = PROGRAMS.get(re.split("[:.]", kind)[-1]) or (PROGRAMS["proxy"] if ":proxy." in kind else PROGRAMS.get(name.split("_")[0]) if kind == "event" else None)
        if program:
            ok = os.path.exists(os.path.join(bin_dir, program))
        elif kind.startswith("event"):
            ok = b"%s\0" % name.encode() in words
        elif kind.startswith("http:"):
            ok = re.sub("[^a-z0-9]+", "_", name.split(" ")[1]).join([name.split(" ")[0] + " ", ""]) in paths
        elif kind == "metric:kumod":
            ok = name in metrics
        elif kind == "kcli":
            # one that comes later says so at once
            ok = name in kcli and "yet" not in run(bin_dir, "kcli", "--endpoint", "http://127.0.0.1:1", name, stdin=subprocess.DEVNULL).stderr
        elif kind == "page":
            ok = True       # each is about names that have rows of their own
        else:
            ok = (kind, name) in lua
        if ok:
            out.add((kind, name))
    return out


def test_of(kind, name, texts):
    """The first test that says the name; recorded cases are named by their file."""
    word = re.compile(r"(?<![A-Za-z0-9_-])%s(?![A-Za-z0-9_-])" % re.escape(name.split(" ")[-1].split(".")[-1] if kind == "lua:undocumented" else name.split(" ")[-1].lstrip("/")))
    return next((t for t, text in texts if word.search(text)), "tests/compat.py")


def test_texts():
    captures = os.environ.get("KUMO_CAPTURES", os.path.join(ROOT, "..", "shared", "captures"))
    if not os.path.exists(captures):
        captures = os.path.join(ROOT, "..", "..", "shared", "captures")
    out = []
    for pattern in ("tests/scenario/*.py", "tests/lua/*.lua", "src/*/*_test.c", "src/*/*/*_test.c"):
        out += [(os.path.relpath(p, ROOT), open(p, errors="replace").read()) for p in sorted(glob.glob(os.path.join(ROOT, pattern)))]
    groups = collections.defaultdict(str)
    for p in sorted(glob.glob(captures + "/cases/*.py") + glob.glob(captures + "/cases/lua/*.lua") + glob.glob(captures + "/golden/*/*")):
        groups["captures " + (p.split("/golden/")[1].split("/")[0] if "/golden/" in p else os.path.basename(p).split(".")[0] if p.endswith(".py") else "lua")] += re.sub("[^A-Za-z0-9_/-]+", " ", open(p, errors="replace").read()).replace("/v1", "_v1") + " "
    return out + sorted(groups.items())


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("bin")
    ap.add_argument("--write", action="store_true")
    a = ap.parse_args()
    with open(TABLE) as f:
        rows = [l.rstrip("\n").split("\t") for l in f if not l.startswith("#")][1:]
    names = [(r[0], r[1]) for r in rows]
    if len(set(names)) != len(names):
        sys.exit("compat.py: docs/compat.tsv has a name twice")
    known = known_names(a.bin, names)
    if a.write:
        texts = test_texts()
        with open(TABLE, "w") as f:
            f.write("kind\tname\tvalue\ttest\n")
            for n in names:
                f.write("\t".join([*n, "implemented", test_of(*n, texts)] if n in known else [*n, "later", "-"]) + "\n")
        print("%d implemented, %d later" % (len(known), len(names) - len(known)))
        return 0
    failed = found = 0
    for kind, name, value, test in rows:
        if value not in ("implemented", "later"):
            problem = "no such value: " + value
        elif value == "implemented" and (kind, name) not in known:
            problem = "marked implemented, but the program does not know it"
        elif value == "implemented" and test.endswith((".py", ".lua", ".c")) and not os.path.exists(os.path.join(ROOT, test)):
            problem = "there is no %s" % test
        else:
            found += value == "later" and (kind, name) in known
            continue
        failed += 1
        print("%s %s: %s" % (kind, name, problem))
    if found:
        print("%d names marked later are known by now: tests/compat.py %s --write" % (found, a.bin))
    print("%d passed, %d failed" % (len(rows) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
