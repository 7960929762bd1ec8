/* SPDX-License-Identifier: Apache-2.0 */
/* kcli - operates a running kumod through its HTTP API: the table of subcommands. */
#include "kumo_version.h"
#include "kcli/commands.h"
#include "base/err.h"
#include <stdio.h>

static const char *check_set(const char *text)
{
	static char why[256];
	const char *eq = strchr(text, '=');

	if (!eq)
		snprintf(why, sizeof why, "Expected name=value, but got %s", text);
	else if (eq == text || !eq[1])
		snprintf(why, sizeof why, "Got empty name/value `%s`; expected name=value", text);
	else
		return NULL;
	return why;
}

#define NOT_WITH_EVERYTHING "--domain --routing-domain --campaign --tenant --queue"
#define ID(what) { "--id", "ID", "the id of the entry, as shown by " what, .required = true, .check = arg_check_uuid }
#define DURATION { "--duration", "DURATION", "how long it stays in effect: 90s, 10m, 1h 30m. Five minutes by default", .check = arg_check_duration }
#define END { NULL, NULL, NULL }

static const struct arg_spec BOUNCE[] = {
	{ "--domain", "DOMAIN", "only queues of this domain", .one_of = true },
	{ "--routing-domain", "ROUTING_DOMAIN", "only queues with this routing domain", .one_of = true },
	{ "--campaign", "CAMPAIGN", "only queues of this campaign", .one_of = true },
	{ "--tenant", "TENANT", "only queues of this tenant", .one_of = true },
	{ "--queue", "QUEUE", "exactly this scheduled queue; may be repeated", .one_of = true, .multi = true, .conflicts = "--domain --routing-domain --campaign --tenant" },
	{ "--reason", "REASON", "why; it is in the AdminBounce log records and in the list", .required = true },
	{ "--everything", NULL, "all queues. There is no way back!", .one_of = true, .conflicts = NOT_WITH_EVERYTHING },
	{ "--suppress-logging", NULL, "write no AdminBounce log records" },
	DURATION,
	END
};
static const struct arg_spec BOUNCE_LIST[] = { { "--json", NULL, "print the entries as JSON instead of a table" }, END };
static const struct arg_spec BOUNCE_CANCEL[] = { ID("kcli bounce-list"), END };
static const struct arg_spec REBIND[] = {
	{ "--domain", "DOMAIN", "only queues of this domain" },
	{ "--routing-domain", "ROUTING_DOMAIN", "only queues with this routing domain" },
	{ "--campaign", "CAMPAIGN", "only queues of this campaign" },
	{ "--tenant", "TENANT", "only queues of this tenant" },
	{ "--reason", "REASON", "why; it is in the AdminRebind log records", .required = true },
	{ "--always-flush", NULL, "messages that stay in their queue become due at once, too" },
	{ "--everything", NULL, "all queues", .conflicts = "--domain --routing-domain --campaign --tenant" },
	{ "--suppress-logging", NULL, "write no AdminRebind log records" },
	{ "--trigger-rebind-event", NULL, "let the policy's event rebind_message decide, instead of merging the data into the metadata" },
	{ "--data", "DATA", "the data as a JSON object of strings" },
	{ "--set", "KEY=VALUE", "one item of the data; may be repeated", .multi = true, .check = check_set },
	END
};
static const struct arg_spec SPOOL_COMPACT[] = { { "--name", "NAME", "the spool, as kumo.define_spool names it", .required = true }, END };
static const struct arg_spec SUSPEND[] = {
	{ "--domain", "DOMAIN", "only queues of this domain", .one_of = true },
	{ "--campaign", "CAMPAIGN", "only queues of this campaign", .one_of = true },
	{ "--tenant", "TENANT", "only queues of this tenant", .one_of = true },
	{ "--reason", "REASON", "why; it is in the list", .required = true },
	{ "--everything", NULL, "all queues", .one_of = true, .conflicts = "--domain --campaign --tenant --queue" },
	{ "--queue", "QUEUE", "exactly this scheduled queue; may be repeated", .one_of = true, .multi = true, .conflicts = "--domain --campaign --tenant" },
	DURATION,
	END
};
static const struct arg_spec NONE[] = { END };
static const struct arg_spec SUSPEND_CANCEL[] = { ID("kcli suspend-list"), END };
static const struct arg_spec SUSPEND_READY_Q[] = {
	{ "--name", "NAME", "the ready queue: source->site@protocol, as kcli queue-summary shows its parts", .required = true },
	{ "--reason", "REASON", "why; it is in the list", .required = true },
	DURATION,
	END
};
static const struct arg_spec SUSPEND_READY_Q_CANCEL[] = { ID("kcli suspend-ready-q-list"), END };
static const struct arg_spec SET_LOG_FILTER[] = { { "<FILTER>", NULL, "what KUMOD_LOG would say, such as kumod=debug,info", .required = true }, END };
static const struct arg_spec ABORT[] = {
	{ "<QUEUE_NAME>", NULL, "the ready queue", .required = true },
	{ "<SESSION_ID>", NULL, "the connection's session_id, as kcli inspect-ready-q shows it with its connections", .required = true },
	END
};
static const struct arg_spec INSPECT_MESSAGE[] = {
	{ "<ID>", NULL, "the message's id", .required = true },
	{ "--want-body", NULL, "with its content" },
	END
};
static const struct arg_spec INSPECT_READY_Q[] = {
	{ "<QUEUE_NAME>", NULL, "the ready queue", .required = true },
	{ "--connections", NULL, "with the state of every connection", .conflicts = "--json" },
	{ "--config", NULL, "with the configuration of its egress path", .conflicts = "--json" },
	{ "--sched-q", NULL, "with the scheduled queues that feed it", .conflicts = "--json" },
	{ "--json", NULL, "everything, as JSON" },
	END
};
static const struct arg_spec INSPECT_SCHED_Q[] = {
	{ "<QUEUE_NAME>", NULL, "the scheduled queue", .required = true },
	{ "--want-body", NULL, "with the content of the messages: expensive" },
	{ "--limit", "LIMIT", "how many of its messages to show, not necessarily the next ones", .dflt = "5", .check = arg_check_number, .conflicts = "--no-limit" },
	{ "--no-limit", NULL, "all of its messages: expensive" },
	END
};
static const struct arg_spec RESOLVE[] = {
	{ "<DOMAIN>", NULL, "the destination", .required = true },
	{ "[SOURCE]", NULL, "the egress source; `unspecified` by default" },
	{ "--config", NULL, "only the configuration, as TOML", .conflicts = "--constraints --json" },
	{ "--constraints", NULL, "only the limits of throughput", .conflicts = "--json" },
	{ "--json", NULL, "everything, as JSON" },
	END
};
static const struct arg_spec PROVIDER_SUMMARY[] = {
	{ "--by-pool", NULL, "a line for each egress pool" },
	{ "--show-domains", NULL, "with the domains of each site that have mail waiting" },
	{ "--limit", "LIMIT", "at most so many lines", .check = arg_check_number },
	END
};
static const struct arg_spec QUEUE_SUMMARY[] = {
	{ "--limit", "LIMIT", "at most so many lines in each section", .check = arg_check_number },
	{ "--by-volume", NULL, "the busiest first, instead of by name" },
	{ "--domain", "DOMAIN", "only queues that have to do with this domain" },
	END
};
#define COLOR { "--color", "COLOR", "whether to use colors", .dflt = "tty", .choices = "tty yes no" }
#define ONLY_NEW { "--only-new", NULL, "only sessions that begin from now on" }
#define ONLY_ONE { "--only-one", NULL, "only the first session seen, then end" }
static const struct arg_spec TRACE_CLIENT[] = {
	{ "--source", "SOURCE", "only connections from this address or network; may be repeated", .multi = true },
	{ "--mx-addr", "MX_ADDR", "only connections to this address or network; may be repeated", .multi = true },
	{ "--mx-host", "MX_HOST", "only connections to this host; may be repeated", .multi = true },
	{ "--domain", "DOMAIN", "only messages of this domain; may be repeated", .multi = true },
	{ "--routing-domain", "ROUTING_DOMAIN", "only messages with this routing domain; may be repeated", .multi = true },
	{ "--campaign", "CAMPAIGN", "only messages of this campaign; may be repeated", .multi = true },
	{ "--tenant", "TENANT", "only messages of this tenant; may be repeated", .multi = true },
	{ "--egress-pool", "EGRESS_POOL", "only sessions of this pool; may be repeated", .multi = true },
	{ "--egress-source", "EGRESS_SOURCE", "only sessions of this source; may be repeated", .multi = true },
	{ "--mail-from", "MAIL_FROM", "only messages of this envelope sender; may be repeated", .multi = true },
	{ "--rcpt-to", "RCPT_TO", "only messages to this envelope recipient; may be repeated", .multi = true },
	{ "--ready-queue", "READY_QUEUE", "only sessions of this ready queue; may be repeated. The cheapest filter", .multi = true },
	COLOR, ONLY_NEW, ONLY_ONE,
	{ "--terse", NULL, "shorten what is written" },
	END
};
static const struct arg_spec TRACE_SERVER[] = {
	{ "--source", "SOURCE", "only clients from this address or network; may be repeated", .multi = true },
	COLOR, ONLY_NEW, ONLY_ONE,
	{ "--terse", NULL, "shorten what is read" },
	END
};
static const struct arg_spec TOP[] = { { "--update-interval", "UPDATE_INTERVAL", "seconds between two looks", .dflt = "1", .check = arg_check_number }, END };
static const struct arg_spec XFER[] = {
	{ "--domain", "DOMAIN", "only queues of this domain", .one_of = true },
	{ "--routing-domain", "ROUTING_DOMAIN", "only queues with this routing domain", .one_of = true },
	{ "--campaign", "CAMPAIGN", "only queues of this campaign", .one_of = true },
	{ "--tenant", "TENANT", "only queues of this tenant", .one_of = true },
	{ "--queue", "QUEUE", "exactly this scheduled queue; may be repeated", .one_of = true, .multi = true, .conflicts = "--domain --routing-domain --campaign --tenant" },
	{ "--reason", "REASON", "why; it is in the AdminRebind log records", .required = true },
	{ "--everything", NULL, "all queues", .one_of = true, .conflicts = NOT_WITH_EVERYTHING },
	{ "--target", "TARGET", "URL of the other node's HTTP listener, such as http://10.0.0.1:8000", .required = true, .check = arg_check_url },
	END
};
static const struct arg_spec XFER_CANCEL[] = {
	{ "<QUEUE_NAME>", NULL, "the transfer's queue, as kcli queue-summary shows it", .required = true },
	{ "--reason", "REASON", "why; it is in the AdminRebind log records", .required = true },
	END
};

static const struct arg_command COMMANDS[] = {
	{ "bounce", "Bounce the messages of matching queues",
	  "What waits is bounced in the background; what arrives is bounced as well, until the duration is over.\n\n"
	  "Examples:\n  kcli bounce --domain example.com --reason 'list was bought'\n  kcli bounce --tenant acme --campaign spring --duration 1h --reason 'wrong content'\n"
	  "  kcli bounce --queue spring:acme@example.com --reason 'as asked for'", BOUNCE, kcli_bounce },
	{ "bounce-list", "List the bounce entries in effect", "Examples:\n  kcli bounce-list\n  kcli bounce-list --json", BOUNCE_LIST, kcli_bounce_list },
	{ "bounce-cancel", "End a bounce entry; what it has bounced stays bounced", "Examples:\n  kcli bounce-cancel --id 0ab5d6c8-1b1a-4f8a-9f7e-6a1d3a3e5b11", BOUNCE_CANCEL,
	  kcli_bounce_cancel },
	{ "rebind", "Move the messages of matching queues to other queues",
	  "The data is merged into each message's metadata, whose queue, tenant, campaign and routing_domain say where it goes.\n\n"
	  "Examples:\n  kcli rebind --domain example.com --reason 'new route' --set queue=other.example\n  kcli rebind --tenant acme --reason 'retry now' --set campaign=late --always-flush\n"
	  "  kcli rebind --everything --reason 'ask the policy' --trigger-rebind-event --data '{\"why\": \"move\"}'", REBIND, kcli_rebind },
	{ "spool-compact", "Flush and compact a spool", "Examples:\n  kcli spool-compact --name data", SPOOL_COMPACT, kcli_spool_compact },
	{ "suspend", "Suspend delivery of matching queues",
	  "Messages are still accepted and kept.\n\nExamples:\n  kcli suspend --domain example.com --reason maintenance --duration 2h\n  kcli suspend --everything --reason 'disk is full'", SUSPEND,
	  kcli_suspend },
	{ "suspend-list", "List the suspensions in effect", "Examples:\n  kcli suspend-list", NONE, kcli_suspend_list },
	{ "suspend-cancel", "End a suspension", "Examples:\n  kcli suspend-cancel --id 0ab5d6c8-1b1a-4f8a-9f7e-6a1d3a3e5b11", SUSPEND_CANCEL, kcli_suspend_cancel },
	{ "suspend-ready-q", "Suspend a ready queue: one source to one site",
	  "Examples:\n  kcli suspend-ready-q --name 'ip-1->mx.example.com@smtp_client' --reason 'blocked there' --duration 30m", SUSPEND_READY_Q, kcli_suspend_ready_q },
	{ "suspend-ready-q-list", "List the suspended ready queues", "Examples:\n  kcli suspend-ready-q-list", NONE, kcli_suspend_ready_q_list },
	{ "suspend-ready-q-cancel", "End the suspension of a ready queue", "Examples:\n  kcli suspend-ready-q-cancel --id 0ab5d6c8-1b1a-4f8a-9f7e-6a1d3a3e5b11",
	  SUSPEND_READY_Q_CANCEL, kcli_suspend_ready_q_cancel },
	{ "set-log-filter", "Change what the daemon logs for diagnosis", "Examples:\n  kcli set-log-filter 'kumod=debug,info'\n  kcli set-log-filter error", SET_LOG_FILTER, kcli_set_log_filter },
	{ "abort-ready-q-conn", "End one connection of a ready queue; its message goes back to be tried again",
	  "Examples:\n  kcli abort-ready-q-conn 'ip-1->mx.example.com@smtp_client' 0ab5d6c8-1b1a-4f8a-9f7e-6a1d3a3e5b11", ABORT, kcli_abort_ready_q_conn },
	{ "inspect-message", "Show a message of the spool", "Examples:\n  kcli inspect-message d7ef132b5d7711eea8c8000c29c33806\n  kcli inspect-message --want-body d7ef132b5d7711eea8c8000c29c33806",
	  INSPECT_MESSAGE, kcli_inspect_message },
	{ "inspect-ready-q", "Show a ready queue: its state, and on request its connections and configuration",
	  "Examples:\n  kcli inspect-ready-q 'ip-1->mx.example.com@smtp_client'\n  kcli inspect-ready-q --json 'ip-1->mx.example.com@smtp_client'", INSPECT_READY_Q, kcli_inspect_ready_q },
	{ "inspect-sched-q", "Show a scheduled queue and some of its messages",
	  "Examples:\n  kcli inspect-sched-q example.com\n  kcli inspect-sched-q --limit 50 spring:acme@example.com", INSPECT_SCHED_Q, kcli_inspect_sched_q },
	{ "resolve-egress-path", "Show how mail would go from a source to a domain, and how fast at most",
	  "Examples:\n  kcli resolve-egress-path example.com\n  kcli resolve-egress-path --constraints example.com ip-1", RESOLVE, kcli_resolve_egress_path },
	{ "provider-summary", "Show the traffic of each provider or site",
	  "D delivered, T failed for the time being, F failed, C connections, Q waiting. Made for people: its form may change.\n\n"
	  "Examples:\n  kcli provider-summary\n  kcli provider-summary --by-pool --limit 20", PROVIDER_SUMMARY, kcli_provider_summary },
	{ "queue-summary", "Show the ready and the scheduled queues",
	  "D delivered, T failed for the time being, C connections, Q waiting there. Made for people: its form may change.\n\n"
	  "Examples:\n  kcli queue-summary\n  kcli queue-summary --by-volume --limit 10\n  kcli queue-summary --domain example.com", QUEUE_SUMMARY, kcli_queue_summary },
	{ "trace-smtp-client", "Watch deliveries as they happen", "Examples:\n  kcli trace-smtp-client --domain example.com --only-new\n  kcli trace-smtp-client --ready-queue 'ip-1->mx.example.com@smtp_client'",
	  TRACE_CLIENT, kcli_trace_smtp_client },
	{ "trace-smtp-server", "Watch receptions as they happen", "Examples:\n  kcli trace-smtp-server --source 10.0.0.1\n  kcli trace-smtp-server --only-one --terse", TRACE_SERVER,
	  kcli_trace_smtp_server },
	{ "top", "Show what comes in and goes out, and the busiest queues, again and again",
	  "q or Esc ends it. Where the output is no terminal it prints one look after the other.\n\nExamples:\n  kcli top\n  kcli top --update-interval 5", TOP, kcli_top },
	{ "xfer", "Transfer the messages of matching queues to another node",
	  "Examples:\n  kcli xfer --domain example.com --reason 'moving' --target http://10.0.0.1:8000\n  kcli xfer --everything --reason 'shutting down' --target http://10.0.0.1:8000", XFER,
	  kcli_xfer },
	{ "xfer-cancel", "Stop a transfer; messages go back to their queues", "Examples:\n  kcli xfer-cancel --reason 'wrong node' http://10.0.0.1:8000/.xfer.kumomta.internal", XFER_CANCEL,
	  kcli_xfer_cancel },
	{ NULL, NULL, NULL, NULL, NULL },
};

static const struct arg_spec GLOBAL[] = {
	{ "--endpoint", "ENDPOINT", "URL of the daemon's HTTP listener. Else KUMO_KCLI_ENDPOINT in the environment, else http://127.0.0.1:8000" },
	END
};

int main(int argc, char **argv)
{
	static const struct arg_program PROGRAM = {
		.name = "kcli",
		.about = "Operates a running KumoMTA through its HTTP API.",
		.details = "Examples:\n  kcli queue-summary\n  kcli --endpoint http://10.0.0.5:8000 suspend --domain example.com --reason maintenance\n  kcli help bounce",
		.specs = GLOBAL,
		.commands = COMMANDS,
		.version = KUMO_VERSION,
	};

	return args_run(&PROGRAM, argc, argv);
}
