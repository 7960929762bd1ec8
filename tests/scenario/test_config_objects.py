"""What kumo.make_queue_config and its like return: read by policies, kept by kumo.memoize, asked for by the server."""
from kumotest import Client, PRELUDE, run_kumod


def script(text):
    status, out, err = run_kumod(PRELUDE + "kumo.on('main', function()\n" + text + "\nend)\n", "--script")
    assert status == 0, err
    return out.splitlines()


def test_fields_are_read_by_name_and_in_a_loop():
    assert script(r'''
        local function show(o)
          local names = {}
          for k, v in pairs(o) do
            names[#names + 1] = k .. '=' .. (type(v) == 'userdata' and 'null' or type(v) == 'table' and '[' .. table.concat(v, ' ') .. ']' or tostring(v))
          end
          table.sort(names)
          print(table.concat(names, ' '))
        end
        local d = kumo.make_listener_domain { relay_from = { '10.0.0.0/8', '::1' }, log_arf = true, log_oob = 'LogThenDrop' }
        show(d)
        print(d.relay_to, d.log_arf, d.nope, #d.relay_from, kumo.serde.json_encode(d))
        show(kumo.make_egress_pool { name = 'p', entries = {} })
        local q = kumo.make_queue_config { max_age = '1h' }
        print(q.max_age, type(q.egress_pool), #q)
    ''') == [
        "log_arf=LogThenRelay log_oob=LogThenDrop relay_from=[10.0.0.0/8 ::1/128] relay_to=false ttl=1m",
        'false\tLogThenRelay\tnil\t2\t{"log_arf":"LogThenRelay","log_oob":"LogThenDrop","relay_from":["10.0.0.0/8","::1/128"],"relay_to":false,"ttl":"1m"}',
        "entries=[] name=p ttl=1m",
        "1h\tuserdata\t0",
    ]


def test_settings_that_are_not_given_are_null_in_what_was_asked_for():
    status, out, err = run_kumod(PRELUDE + r'''
        kumo.on('get_queue_config', function() return kumo.make_queue_config {} end)
        kumo.on('get_egress_source', function(name) return kumo.make_egress_source { name = name } end)
        kumo.on('get_egress_path_config', function() return kumo.make_egress_path {} end)
        kumo.on('main', function()
          for _, v in ipairs { kumo.invoke_get_queue_config('a.example').egress_pool, kumo.invoke_get_egress_source('s').ttl, kumo.invoke_get_egress_source('s').source_address,
                               kumo.invoke_get_egress_path_config('a.example', 's', 'site').max_message_rate } do
            print(type(v), kumo.serde.json_encode { v })
          end
          print(#kumo.serde.json_encode(kumo.make_queue_config(kumo.invoke_get_queue_config 'a.example')) > 0)
        end)
    ''', "--script")
    assert status == 0, err
    assert out.splitlines() == ["userdata\t[null]", 'string\t["1m"]', "userdata\t[null]", "userdata\t[null]", "true"]


def test_memoize_keeps_them_within_tables():
    status, out, err = run_kumod(PRELUDE + r'''
        local get_pools = kumo.memoize(function()
          local pools = { list = { kumo.make_egress_path { smtp_port = 2525 }, kumo.make_listener_domain { relay_to = true } } }
          for _, name in ipairs { 'best', 'medium' } do
            pools[name] = kumo.make_egress_pool { name = name, entries = { { name = 'ip-1' } } }
          end
          return pools
        end, { name = 'pools', ttl = '5 minutes', capacity = 10 })
        local get_source = kumo.memoize(function(name)
          return kumo.make_egress_source { name = name, ehlo_domain = name .. '.example' }
        end, { name = 'sources', ttl = '5 minutes', capacity = 10 })
        local several = kumo.memoize(function()
          return kumo.make_queue_config { max_age = '1h' }, nil, { kumo.make_egress_source { name = 's' } }
        end, { name = 'several', ttl = '5 minutes', capacity = 10 })
        kumo.on('get_egress_source', get_source)
        kumo.on('get_egress_pool', function(name) return get_pools()[name] end)
        kumo.on('main', function()
          print(kumo.serde.json_encode(kumo.invoke_get_egress_pool 'medium'), kumo.invoke_get_egress_source('ip-1').ehlo_domain, kumo.invoke_get_egress_source('ip-2').ehlo_domain)
          local pools = get_pools()
          print(pools.list[1].smtp_port, pools.list[2].relay_to, kumo.serde.json_encode(pools.best))
          pools.best = pools.medium
          pools.own = { kumo.make_egress_pool { name = 'own', entries = {} } }
          print(pools.best.name, pools.own[1].name, get_pools().best.name, get_pools().own)
          local r = several()
          print(#r, r[1].max_age, r[2], r[3][1].name)
          print((select(2, pcall(kumo.memoize(function() return { kumo.make_message('s@a.example', 'r@a.example', 'x') } end, { name = 'message', ttl = '1m', capacity = 1 })))))
        end)
    ''', "--script")
    assert status == 0, err
    assert out.splitlines()[:4] == [
        '{"entries":[{"name":"ip-1","weight":1}],"name":"medium","ttl":"1m"}\tip-1.example\tip-2.example',
        '2525\ttrue\t{"entries":[{"name":"ip-1","weight":1}],"name":"best","ttl":"1m"}',
        "medium\town\tbest\tnil",
        "3\t1h\tnil\ts",
    ]
    assert out.splitlines()[4].startswith("error converting Lua nil to table")


def test_the_listener_is_where_the_client_found_it(kumod):
    k = kumod(PRELUDE + r'''
        kumo.on('get_listener_domain', function(domain, listener, conn_meta)
          return kumo.make_listener_domain { relay_to = listener == '192.0.2.7:2525' and listener == conn_meta:get_meta 'received_via' }
        end)
        kumo.on('init', function()
          for _, n in ipairs { 'data', 'meta' } do
            kumo.define_spool { name = n, path = DIR .. '/spool/' .. n, kind = 'LocalDisk' }
          end
          kumo.start_esmtp_listener { listen = '127.0.0.1:0', relay_hosts = {}, require_proxy_protocol = true }
        end)
    ''')
    for address, answer in ("192.0.2.7", "250"), ("192.0.2.8", "550"):
        c = Client(k.ports["smtp"], first="PROXY TCP4 192.0.2.1 %s 4000 2525\r\n" % address)
        assert c.greeting.startswith("220")
        c.cmd("EHLO x.example")
        c.cmd("MAIL FROM:<s@from.example>")
        assert c.cmd("RCPT TO:<r@to.example>").startswith(answer)
        c.close()
