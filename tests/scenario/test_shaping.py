"""kumo.shaping.load and what it says about files, with the real program: sources over HTTP, in each form."""
import contextlib, http.server, json
from kumotest import PRELUDE, http_server, run_kumod


@contextlib.contextmanager
def web(pages):
    """A server that answers GET PATH with pages[PATH], (status, text); its base URL."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, text = pages.get(self.path, (404, "not here"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass
    with http_server(Handler) as server:
        yield server.url


LOAD = PRELUDE + r'''
kumo.on('main', function(...)
  local options = kumo.serde.json_parse(select(1, ...))
  local ok, shaping = pcall(kumo.shaping.load, { select(2, ...) }, options)
  if not ok then
    return print(kumo.serde.json_encode { raised = tostring(shaping) })
  end
  print(kumo.serde.json_encode {
    config = shaping:get_egress_path_config('a.example', 'ip-1', 'site'),
    errors = table.concat(shaping:get_errors(), '\n'),
    warnings = table.concat(shaping:get_warnings(), '\n'),
  })
end)
'''


def load(options, *files):
    status, out, err = run_kumod(LOAD, "--script", "--", json.dumps(options), *files)
    assert status == 0, err
    return json.loads(out), err


def test_sources_over_http():
    pages = {"/s.toml": (200, '["default"]\nconnection_limit = 7\n'), "/s.json": (200, '{"default": {"connection_limit": 8}}'), "/plain": (200, '{"default": {"connection_limit": 9}}'),
             "/bad": (200, "{{{"), "/busy": (503, "later\n")}
    with web(pages) as base:
        for path, limit in ("/s.toml", 7), ("/s.json", 8), ("/plain", 9):
            assert load({}, base + path)[0] == {"config": {"connection_limit": limit}, "errors": "", "warnings": ""}
        # what can't be had is left out, and the diagnostic log says so; the options say whether the caller hears of it
        got, log = load({}, base + "/busy", base + "/s.toml")
        assert got == {"config": {"connection_limit": 7}, "errors": "", "warnings": ""}
        assert "/busy failed: status 503 Service Unavailable later. Ignoring this shaping source for now" in log
        assert load({"remote_load": "Warn"}, base + "/none.toml")[0]["warnings"] == "remote shaping source %s/none.toml error: HTTP request to %s/none.toml failed: status 404 Not Found not here" % (base, base)
        assert load({"remote_load": "Error"}, base + "/bad")[0]["errors"].startswith("parsing toml: %s/bad:1: " % base)
        assert load({"skip_remote": True}, base + "/s.toml")[0]["warnings"] == "Ignoring %s/s.toml because skip_remote is set to true" % base
    assert "making HTTP request to %s/s.toml" % base in load({"remote_load": "Error"}, base + "/s.toml")[0]["errors"]


def test_validation_reads_what_is_listed():
    """With the helper: a URL is fetched and checked like a file, unless skip_remote says no."""
    policy = PRELUDE + r'''
        local options = kumo.serde.json_parse(os.getenv 'OPTIONS')
        kumo.on('get_egress_path_config', require('policy-extras.shaping'):setup({ os.getenv 'URL' }, { no_default_files = true, validation_options = options }))
    '''

    def validate(url, options):
        status, out, err = run_kumod(policy, "--validate", env={"URL": url, "OPTIONS": json.dumps(options)})
        return status, out + err
    with web({"/good.toml": (200, '["default"]\nconnection_limit = 7\n'), "/bad.toml": (200, '["default"]\nconnection_limt = 7\n')}) as base:
        assert validate(base + "/good.toml", {}) == (0, "")
        status, text = validate(base + "/bad.toml", {})
        assert status == 1 and "unknown field `connection_limt`" in text
        status, text = validate(base + "/none.toml", {})
        assert status == 1 and "shaping: remote shaping source %s/none.toml error: " % base in text
        assert validate(base + "/none.toml", {"skip_remote": True}) == (0, "")
