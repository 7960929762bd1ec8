-- SPDX-License-Identifier: Apache-2.0
--
-- rollup - lets domains share ready queues where the names of their MX hosts alone would keep them apart.
--
-- By MX host suffix: every domain whose MX hosts all end in ".olc.protection.outlook.com" is routed as outlook.com:
--
--    rollup.reroute_based_on_mx_host_suffix(msg, { ['.olc.protection.outlook.com.'] = 'outlook.com' })
--
-- By address: domains whose best MX host has a listed suffix go to the addresses of that host, through a queue that is
-- named after those addresses. Both halves are needed:
--
--    rollup.reroute_using_ip_rollup(msg, { ['.mail.protection.outlook.com.'] = 'outlook.ip_rollup' })
--    rollup.apply_ip_rollup_to_queue_config(domain, routing_domain, params)   -- in get_queue_config

local kumo = require 'kumo'
local utils = require 'policy-extras.policy_utils'

local mod = {}

local function canonical(name)
  name = name:lower()
  return utils.ends_with(name, '.') and name or name .. '.'
end

-- The value in `mapping` for the longest suffix that fits the host name.
local function match_suffix(host, mapping)
  local best, best_length = nil, -1
  host = canonical(host)
  for suffix, value in pairs(mapping) do
    suffix = canonical(suffix)
    if utils.ends_with(host, suffix) and #suffix > best_length then
      best, best_length = value, #suffix
    end
  end
  return best
end

local function lookup_mx(domain)
  local ok, mx = pcall(kumo.dns.lookup_mx, domain)
  return ok and mx or nil -- a domain that can't be resolved now is left as it is, delivery deals with it
end

-- The host that the highest priority MX record names; among equals the first by name, so that the choice is stable.
local function best_host(mx)
  local best_pref
  for pref in pairs(mx.by_pref or {}) do
    local n = tonumber(pref)
    if not best_pref or n < tonumber(best_pref) then
      best_pref = pref
    end
  end
  return best_pref and mx.by_pref[best_pref][1] or (mx.hosts or {})[1]
end

local function recipient_domain(msg)
  return msg:recipient_list()[1].domain
end

--- Sets the routing domain of a message when every MX host of its domain has a suffix that maps to the same one.
function mod.reroute_based_on_mx_host_suffix(msg, suffix_to_routing_domain)
  local mx = lookup_mx(recipient_domain(msg))
  if not mx or not mx.is_mx then
    return
  end
  local target
  for _, host in ipairs(mx.hosts) do
    local routing_domain = match_suffix(host, suffix_to_routing_domain)
    if not routing_domain or (target and target ~= routing_domain) then
      return
    end
    target = routing_domain
  end
  if target then
    msg:set_meta('routing_domain', target)
  end
end

--- Sets the routing domain of a message to an `.ip_rollup` name when the best MX host of its domain has a listed suffix.
function mod.reroute_using_ip_rollup(msg, suffix_to_rollup)
  local mx = lookup_mx(recipient_domain(msg))
  local host = mx and mx.is_mx and best_host(mx)
  local target = host and match_suffix(host, suffix_to_rollup)
  if target then
    msg:set_meta('routing_domain', target)
  end
end

--- Completes the parameters for kumo.make_queue_config of a queue that reroute_using_ip_rollup chose: mail goes to the
-- addresses of the best MX host. Returns true when it did.
function mod.apply_ip_rollup_to_queue_config(domain, routing_domain, params)
  if not routing_domain or not utils.ends_with(routing_domain, '.ip_rollup') then
    return false
  end
  local host = best_host(kumo.dns.lookup_mx(domain))
  if not host then
    error(string.format('%s has no MX host whose addresses could be used for %s', domain, routing_domain), 0)
  end
  local mx_list = {}
  for i, address in ipairs(kumo.dns.lookup_addr(host)) do
    mx_list[i] = '[' .. address .. ']'
  end
  table.sort(mx_list)
  params.protocol = { smtp = { mx_list = mx_list } }
  return true
end

return mod
