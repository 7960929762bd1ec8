-- SPDX-License-Identifier: Apache-2.0
--
-- mail_auth - the usual authentication checks on a received message, and their results in one header.
--
--    local mail_auth = require 'policy-extras.mail_auth'
--    local result = mail_auth.check(msg)
--    if result.dmarc.result == 'fail' then ... end
--
-- The checks decide nothing: what follows from the results is up to the policy.

local kumo = require 'kumo'
local typing = require 'policy-extras.typing'

local mod = {}

-- A peer with very many names gets only the first ones looked at (RFC 8601 section 3).
local MAX_PTR_NAMES = 10

local CheckOptions = typing.record('mail_auth.check', {
  dkim = typing.default(typing.boolean, true),
  spf = typing.default(typing.boolean, true),
  iprev = typing.default(typing.boolean, true),
  smtp_auth = typing.default(typing.boolean, true),
  dmarc = typing.default(typing.boolean, true),
  arc = typing.default(typing.boolean, true),
  add_auth_results_header = typing.default(typing.boolean, true),
  server_id = typing.option(typing.string),
  resolver = typing.option(typing.string),
})

local function iprev_result(ip, result, reason)
  return { method = 'iprev', result = result, reason = reason, props = { ['policy.iprev'] = ip } }
end

-- Does the name resolve to the address? Returns true or false, and true when the lookup itself failed.
local function resolves_to(name, ip, resolver)
  local ok, addresses = pcall(kumo.dns.lookup_addr, name, resolver)
  if not ok then
    return false, not tostring(addresses):find 'NXDOMAIN'
  end
  for _, address in ipairs(addresses) do
    if address:lower() == ip:lower() then
      return true, false
    end
  end
  return false, false
end

--- The iprev method of RFC 8601 section 3: do the names of the address lead back to it?
function mod.iprev(ip, resolver)
  local ok, names = pcall(kumo.dns.lookup_ptr, ip, resolver)
  if not ok then
    if tostring(names):find 'NXDOMAIN' then
      return iprev_result(ip, 'permerror', 'there is no PTR record')
    end
    return iprev_result(ip, 'temperror', 'the PTR lookup failed')
  end
  if #names == 0 then
    return iprev_result(ip, 'permerror', 'there is no PTR record')
  end
  local any_failed = false
  for i = 1, math.min(#names, MAX_PTR_NAMES) do
    local matches, failed = resolves_to(names[i], ip, resolver)
    if matches then
      return iprev_result(ip, 'pass', 'address and name ' .. names[i] .. ' lead to each other')
    end
    any_failed = any_failed or failed
  end
  if any_failed then
    return iprev_result(ip, 'temperror', 'the lookup of an address failed')
  end
  return iprev_result(ip, 'fail', 'no name of the address resolves to it')
end

-- The address in "10.0.0.1:25" or "[::1]:25".
local function address_of(endpoint)
  return endpoint and (endpoint:match '^%[(.-)%]' or endpoint:match '^([%d.]+):%d+$' or endpoint:match '^(%x*:[%x:.]+)$')
end

--- The same for the peer that sent the message.
function mod.iprev_msg(msg, resolver)
  local ip = address_of(msg:get_meta 'received_from')
  if not ip then
    return { method = 'iprev', result = 'permerror', reason = 'the message has no peer address', props = {} }
  end
  return mod.iprev(ip, resolver)
end

local function smtp_auth_result(msg)
  local user = msg:get_meta 'authn_id'
  if user and not typing.is_null(user) then
    return { method = 'auth', result = 'pass', props = { ['smtp.auth'] = user } }
  end
  return { method = 'auth', result = 'none', props = {} }
end

--- Performs the checks that `options` doesn't turn off; returns their results by name, and all in `auth_results`.
function mod.check(msg, options)
  options = CheckOptions(options or {})
  local resolver = options.resolver
  local out, all = {}, {}

  -- DMARC is about the results of these two, whether they were asked for or not.
  local dkim = (options.dkim or options.dmarc) and msg:dkim_verify(resolver)
  local spf = (options.spf or options.dmarc) and kumo.spf.check_msg(msg, resolver).result

  local function add(name, wanted, produce)
    if wanted then
      out[name] = produce()
      all[#all + 1] = out[name]
    end
  end

  if options.dkim then
    if #dkim == 0 then
      dkim = { { method = 'dkim', result = 'none', reason = 'there is no signature', props = {} } }
    end
    out.dkim = dkim
    for _, result in ipairs(dkim) do
      all[#all + 1] = result
    end
  end
  add('spf', options.spf, function()
    return spf
  end)
  add('iprev', options.iprev, function()
    return mod.iprev_msg(msg, resolver)
  end)
  add('smtp_auth', options.smtp_auth, function()
    return smtp_auth_result(msg)
  end)
  add('dmarc', options.dmarc, function()
    return kumo.dmarc.check_msg(msg, dkim, resolver, spf, false, nil).result
  end)
  add('arc', options.arc, function()
    return msg:arc_verify(resolver)
  end)

  out.auth_results = all
  if options.add_auth_results_header then
    msg:add_authentication_results(options.server_id or msg:get_meta 'hostname', all)
  end
  return out
end

return mod
