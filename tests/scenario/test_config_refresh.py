"""When configuration is asked for again: by age with Ttl (and ttl of sources and pools), by bumping the epoch with Epoch."""
import time
import pytest
from egress import SOURCES, run, send
from kumotest import BASE, PRELUDE, wait_for


COUNTING = r'''
local function told(what) local f = io.open(DIR .. '/told-' .. what, 'a'); f:write 'x'; f:close() end
'''


def told(k, what):
    try:
        return len(open("%s/told-%s" % (k.dir, what)).read())
    except OSError:
        return 0


@pytest.mark.parametrize("what", ["path", "queue", "source", "pool"])
def test_refresh(kumod, sink, what):
    """By age with Ttl (and ttl of sources and pools), by bumping the epoch with Epoch."""
    s = sink()
    policy = COUNTING + BASE.replace("kumo.on('get_egress_path_config', function()", "kumo.on('get_egress_path_config', function() told 'path'").replace("kumo.on('get_queue_config', function()", "kumo.on('get_queue_config', function() told 'queue'") + SOURCES.replace("function(n) return kumo", "function(n) told 'pool' return kumo").replace("function(n)\n", "function(n) told 'source'\n")
    policy = PRELUDE + policy.replace(PRELUDE, "")      # told needs DIR
    k = run(kumod, s.port, "POOL_TTL = '1s'; POOL_ENTRIES = function() return { { name = 's1' } } end; SOURCE = function() return { ttl = '1s' } end; QUEUE = { egress_pool = 'p', refresh_interval = '1s' }; PATH = { refresh_interval = '1s', idle_timeout = '0s' }", policy)
    send(k)
    assert s.wait(1)
    first = told(k, what)
    assert first >= 1
    if what in ("path", "queue", "pool"):
        assert wait_for(lambda: send(k) or told(k, what) > first, 8, 0.5)
    if what in ("path", "queue"):
        k.stop()
        k = run(kumod, s.port, "QUEUE = { refresh_strategy = 'Epoch', refresh_interval = '1s' }; PATH = { refresh_strategy = 'Epoch', refresh_interval = '1s', idle_timeout = '0s' }", policy)
        send(k)
        assert wait_for(lambda: told(k, what) >= 1)
        first = told(k, what)
        for _ in range(4):
            time.sleep(0.7)
            send(k)
        assert told(k, what) == first
        assert k.http("POST", "/api/admin/bump-config-epoch")[0] == 200
        assert wait_for(lambda: send(k) or told(k, what) > first, 8, 0.5)
