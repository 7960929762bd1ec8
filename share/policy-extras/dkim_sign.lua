-- SPDX-License-Identifier: Apache-2.0
--
-- dkim_sign - DKIM signatures as data files say.
--
--    local dkim_sign = require 'policy-extras.dkim_sign'
--    local dkim_signer = dkim_sign:setup { '/opt/kumomta/etc/policy/dkim_data.toml' }
--    kumo.on('smtp_server_message_received', function(msg)
--      dkim_signer(msg)   -- last: what changes the message afterwards breaks the signature
--    end)
--
-- with files like
--
--    [base]
--    selector = "s1"
--    additional_signatures = ["esp"]
--    [domain."example.com"]       # for messages From: this domain
--    filename = "/full/path/to/key"
--    [signature.esp]              # for all, or with OnlyIfMissingDomainBlock for those without a domain block
--    policy = "Always"
--    domain = "esp.example"

local kumo = require 'kumo'
local typing = require 'policy-extras.typing'
local utils = require 'policy-extras.policy_utils'

local mod = {}

local KEY_DIR = '/opt/kumomta/etc/dkim'

local DEFAULT_HEADERS = { 'From', 'To', 'Subject', 'Date', 'MIME-Version', 'Content-Type', 'Sender' }

-- Options that are handed on to the signer as they are.
local SIGNER_OPTIONS = {
  atps = typing.string,
  atpsh = typing.string,
  agent_user_identifier = typing.string,
  body_canonicalization = typing.string,
  body_length = typing.boolean,
  expiration = typing.number,
  header_canonicalization = typing.string,
  headers = typing.list(typing.string),
  over_sign = typing.boolean,
  reporting = typing.boolean,
  selector = typing.string,
  ttl = typing.either(typing.number, typing.string),
}

local function with_signer_options(fields)
  for name, t in pairs(SIGNER_OPTIONS) do
    fields[name] = typing.option(t)
  end
  fields.algo = typing.option(typing.enum('algo', 'sha256', 'ed25519'))
  fields.vault_mount = typing.option(typing.string)
  fields.vault_path_prefix = typing.option(typing.string)
  fields.vault_key = typing.option(typing.string)
  return fields
end

local BaseConfig = typing.record(
  'DkimBaseConfig',
  with_signer_options { additional_signatures = typing.option(typing.list(typing.string)) }
)

local DomainConfig = typing.record('DkimDomainConfig', with_signer_options { filename = typing.option(typing.string) })

local SignatureConfig = typing.record(
  'DkimSignatureConfig',
  with_signer_options {
    filename = typing.option(typing.string),
    domain = typing.option(typing.string),
    policy = typing.option(typing.enum('policy', 'Always', 'OnlyIfMissingDomainBlock')),
  }
)

local DkimSignConfig = typing.record('DkimSignConfig', {
  base = typing.option(BaseConfig),
  domain = typing.option(typing.map(typing.string, DomainConfig)),
  signature = typing.option(typing.map(typing.string, SignatureConfig)),
})

local function load_data(file_names)
  local data = utils.load_data_files(file_names, DkimSignConfig)
  local by_domain = {}
  for domain, config in pairs(data.domain or {}) do
    by_domain[domain:lower()] = config
  end
  return { base = data.base or {}, domain = by_domain, signature = data.signature or {} }
end

-- Where the key of a signature is: a file named by the block, else the vault, else the usual path.
local function key_source(block, params, setting)
  if block.filename then
    return block.filename
  end
  local mount = setting 'vault_mount'
  if mount then
    local prefix = setting 'vault_path_prefix'
    return {
      vault_mount = mount,
      vault_path = string.format('%s%s/%s', prefix and prefix .. '/' or '', params.domain, params.selector),
      vault_key = setting 'vault_key',
    }
  end
  return string.format('%s/%s/%s.key', KEY_DIR, params.domain, params.selector)
end

local function make_signer(data, block, domain)
  local function setting(name)
    if block[name] ~= nil then
      return block[name]
    end
    return data.base[name]
  end

  local params = { domain = domain }
  for name in pairs(SIGNER_OPTIONS) do
    params[name] = setting(name)
  end
  params.headers = params.headers or DEFAULT_HEADERS
  if not params.selector then
    error(string.format("no selector for the DKIM signature of '%s': set one there or in [base]", domain), 0)
  end
  params.key = key_source(block, params, setting)

  if setting 'algo' == 'ed25519' then
    return kumo.dkim.ed25519_signer(params)
  end
  return kumo.dkim.rsa_sha256_signer(params)
end

-- Signers of the data in use. They go with it, some seconds later: then keys and settings are read again.
local signers, signers_data = {}, nil

local function get_signer(data, kind, name, domain)
  if signers_data ~= data then
    signers, signers_data = {}, data
  end
  local key = kind .. '\n' .. name .. '\n' .. domain
  local signer = signers[key]
  if not signer then
    signer = make_signer(data, data[kind][name], domain)
    signers[key] = signer
  end
  return signer
end

-- The domain that a message is from: that of its From header, or without one that of its envelope.
local function sender_domain(msg)
  local ok, from = pcall(msg.from_header, msg)
  local address = ok and from or msg:sender()
  return address and address.domain and address.domain:lower()
end

local function sign(data, msg)
  local domain = sender_domain(msg)
  local block = domain and data.domain[domain]
  if block then
    msg:dkim_sign(get_signer(data, 'domain', domain, domain))
  end
  for _, name in ipairs(data.base.additional_signatures or {}) do
    local signature = data.signature[name]
    if not signature then
      error(string.format("additional_signatures names '%s', but there is no [signature.\"%s\"]", name, name), 0)
    end
    if signature.policy ~= 'OnlyIfMissingDomainBlock' or not block then
      local signing_domain = signature.domain or domain
      if not signing_domain then
        error(string.format("[signature.\"%s\"] has no domain, and neither has the message", name), 0)
      end
      msg:dkim_sign(get_signer(data, 'signature', name, signing_domain))
    end
  end
end

local function dummy_message(domain)
  local from = 'check@' .. domain
  return kumo.make_message(
    from,
    'check@recipient.example',
    'From: <' .. from .. '>\r\nTo: <check@recipient.example>\r\nSubject: check\r\n\r\ncheck\r\n'
  )
end

local function find_issues(data)
  local issues = {}
  local function attempt(what, domain)
    local ok, err = pcall(sign, data, dummy_message(domain))
    if not ok then
      issues[#issues + 1] = string.format('%s: %s', what, utils.error_text(err))
    end
  end
  for _, domain in ipairs(utils.sorted_keys(data.domain)) do
    attempt(string.format("signing for domain '%s'", domain), domain)
  end
  attempt('signing for a domain that is not listed', 'not-listed.example')
  return issues
end

--- Returns a function that signs a message as the data in the listed files asks for.
function mod:setup(file_names)
  local get_data = utils.cached_loader('dkim_sign_data', file_names, load_data)

  kumo.on('validate_config', function()
    local issues = find_issues(load_data(file_names))
    if #issues > 0 then
      utils.report_issues('dkim_sign', file_names, issues)
    end
  end)

  return function(msg)
    sign(get_data(), msg)
  end
end

return mod
