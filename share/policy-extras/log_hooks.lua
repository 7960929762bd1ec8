-- SPDX-License-Identifier: Apache-2.0
--
-- log_hooks - sends log records somewhere else, through queues of their own: webhooks, message brokers, anything.
--
--    local log_hooks = require 'policy-extras.log_hooks'
--    log_hooks:new_json { name = 'webhook', url = 'http://10.0.0.1:4242/log' }
--
-- Each record becomes a message in the queue NAME.log_hook, where a connection object of Lua delivers it; it is kept
-- and retried as other messages are. Records about these queues are not sent on.

local kumo = require 'kumo'
local typing = require 'policy-extras.typing'
local utils = require 'policy-extras.policy_utils'

local mod = {}

local SUFFIX = '.log_hook'

local HookOptions = typing.record('log_hooks:new', {
  name = typing.string,
  constructor = typing.func,
  log_parameters = typing.option(typing.table),
  queue_config = typing.option(typing.table),
  batch_size = typing.option(typing.integer),
  min_batch_size = typing.option(typing.integer),
  max_batch_latency = typing.option(typing.any),
})

local JsonOptions = typing.record('log_hooks:new_json', {
  name = typing.string,
  url = typing.string,
  log_parameters = typing.option(typing.table),
  queue_config = typing.option(typing.table),
})

local DispositionOptions = typing.record('log_hooks:new_disposition_hook', {
  name = typing.string,
  hook = typing.func,
  per_record = typing.option(typing.table),
})

local used_names = {}

local function claim_name(name)
  if used_names[name] then
    error(string.format("a log hook named '%s' was set up already; each needs a name for itself", name), 0)
  end
  used_names[name] = true
end

-- What kumo.make_queue_config gets for the queue of a hook.
local function queue_params(options, constructor_event)
  local params = { retry_interval = '1m', max_retry_interval = '20m' }
  utils.merge_into(options.queue_config or {}, params)
  params.protocol = {
    custom_lua = {
      constructor = constructor_event,
      batch_size = options.batch_size,
      min_batch_size = options.min_batch_size,
      max_batch_latency = options.max_batch_latency,
    },
  }
  return params
end

--- Sets up a hook. Options: `name`; `constructor(domain, tenant, campaign)`, which returns a connection with the methods
-- `send(message)`, or with a `batch_size` over 1 `send_batch(messages)`, and `close()`; `log_parameters` for
-- kumo.configure_log_hook; `queue_config` for kumo.make_queue_config.
function mod:new(options)
  options = HookOptions(options)
  claim_name(options.name)
  local queue_name = options.name .. SUFFIX
  local constructor_event = 'make.' .. queue_name

  kumo.on('pre_init', function()
    kumo.configure_log_hook(utils.merge_into({ name = options.name }, utils.merge_into(options.log_parameters or {}, {})))
  end)

  kumo.on('should_enqueue_log_record', function(msg, hook_name)
    if hook_name ~= options.name then
      return
    end
    local record = msg:get_meta 'log_record'
    if record.reception_protocol == 'LogRecord' or record.queue == queue_name then
      return false -- what became of a log record is not logged in turn
    end
    msg:set_meta('queue', queue_name)
    return true
  end)

  kumo.on('get_queue_config', function(domain, _tenant, _campaign, _routing_domain)
    if domain == queue_name then
      return kumo.make_queue_config(queue_params(options, constructor_event))
    end
  end)

  kumo.on(constructor_event, options.constructor)

  kumo.on('validate_config', function()
    local ok, err = pcall(kumo.make_queue_config, queue_params(options, constructor_event))
    if not ok then
      print(string.format("log hook '%s': queue_config: %s", options.name, utils.error_text(err)))
      kumo.validation_failed()
    end
  end)
end

-- Whether the same request may succeed later: the server has trouble, or is too busy. Other 4xx answers are about the
-- request itself.
local function is_worth_retrying(status)
  return status >= 500 or status == 408 or status == 429
end

--- Sets up a hook that POSTs each record as JSON to `url`.
function mod:new_json(options)
  options = JsonOptions(options)

  local function constructor(_domain, _tenant, _campaign)
    local connection = {}
    local client = kumo.http.build_client {}

    function connection:send(message)
      local response =
        client:post(options.url):header('Content-Type', 'application/json'):body(message:get_data()):send()
      local status = response:status_code()
      local disposition = string.format('%d %s: %s', status, response:status_reason(), response:text())
      if response:status_is_success() then
        return disposition
      end
      kumo.reject(is_worth_retrying(status) and 400 or 500, disposition)
    end

    function connection:close()
      client:close()
    end

    return connection
  end

  return self:new {
    name = options.name,
    log_parameters = options.log_parameters,
    queue_config = options.queue_config,
    constructor = constructor,
  }
end

--- Calls `hook(msg, log_record)` when a record about a message is logged, at once and without a queue.
function mod:new_disposition_hook(options)
  options = DispositionOptions(options)
  claim_name(options.name)

  kumo.on('pre_init', function()
    kumo.configure_log_disposition_hook { name = options.name, per_record = options.per_record }
  end)
  kumo.on('log_disposition_' .. options.name, options.hook)
end

return mod
