/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmdline - the command line of kumod.
 *
 * Long options only, each at most once unless it says otherwise, "--name value" or "--name=value"; what follows "--" belongs to the script.
 * Mistakes are reported as upstream's programs report them, with exit status 2, because people's wrappers look at both.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "kumo_version.h"
#include "base/nearest.h"
#include "base/xalloc.h"
#include "kumod/kumod.h"

#define DEFAULT_POLICY "/opt/kumomta/etc/policy/init.lua"
#define FORMATS "[possible values: pretty, full, compact, json]"

enum opt_id { OPT_POLICY, OPT_VALIDATE, OPT_SCRIPT, OPT_DIAG_DIR, OPT_DIAG_FORMAT, OPT_OPENAPI, OPT_LRUTTL, OPT_METRICS, OPT_USER, OPT_SCRIPT_ARGS, OPT_HELP, OPT_VERSION, N_OPTS };

static const struct option_desc {
	const char *name, *value;
	bool repeats;
	const char *help;
} OPTIONS[N_OPTS] = {
	[OPT_POLICY] = { "--policy", "POLICY", false, "The policy file (Lua) to run\n          [default: " DEFAULT_POLICY "]" },
	[OPT_VALIDATE] = { "--validate", NULL, false, "Check the policy: load it, fire init without starting anything, then validate_config.\n          The exit status tells whether problems were found" },
	[OPT_SCRIPT] = { "--script", NULL, false, "Run the policy file as a script: fire its event 'main', then exit" },
	[OPT_DIAG_DIR] = { "--diag-log-dir", "DIAG_LOG_DIR", false, "Write the diagnostic log to hourly files in this folder instead of stderr" },
	[OPT_DIAG_FORMAT] = { "--diag-format", "DIAG_FORMAT", false, "How lines of the diagnostic log look\n          [default: full]\n          " FORMATS },
	[OPT_OPENAPI] = { "--dump-openapi-spec", NULL, false, "Print the OpenAPI description of the HTTP endpoints and exit" },
	[OPT_LRUTTL] = { "--dump-lruttl-caches", NULL, false, "Print the names and sizes of the predefined caches and exit" },
	[OPT_METRICS] = { "--dump-metric-metadata", NULL, false, "Print the names and types of the metrics and exit" },
	[OPT_USER] = { "--user", "USER", false, "Run as this user; needed when started as root" },
	[OPT_SCRIPT_ARGS] = { "--script-args", "LEGACY_SCRIPT_ARGS", true, "An argument for the script; what stands behind -- is passed too" },
	[OPT_HELP] = { "--help", NULL, false, "Print this help" },
	[OPT_VERSION] = { "--version", NULL, false, "Print the version" },
};

static _Noreturn void usage_error(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("error: ", stderr);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("\n\nUsage: kumod [OPTIONS] [-- <SCRIPT_ARGS>...]\n\nFor more information, try '--help'.\n", stderr);
	exit(2);
}

static const char EXAMPLES[] =
    "Examples:\n"
    "  kumod --policy init.lua --user kumod              run it; as root it keeps the right to use ports below 1024\n"
    "  kumod --policy init.lua --user kumod --validate   check it\n"
    "  kumod --policy tool.lua --script -- one two       run a script, with two arguments\n"
    "  KUMOD_LOG=debug kumod --policy init.lua           say more; it is a filter like info,kumod::smtp_server=debug\n"
    "  kill -TERM PID                                    stop it; deliveries under way end, the rest stays in the spool\n";

static void print_help(void)
{
	printf("KumoMTA mail server\n\nUsage: kumod [OPTIONS] [-- <SCRIPT_ARGS>...]\n\nArguments:\n  [SCRIPT_ARGS]...\n          What is passed to the script's event 'main'\n\nOptions:\n");
	for (int i = 0; i < N_OPTS; i++) {
		const struct option_desc *o = &OPTIONS[i];
		const char *letter = i == OPT_HELP ? "-h, " : i == OPT_VERSION ? "-V, " : "    ";
		printf("  %s%s%s%s%s\n          %s\n\n", letter, o->name, o->value ? " <" : "", o->value ? o->value : "", o->value ? ">" : "", o->help);
	}
	fputs(EXAMPLES, stdout);
}

static enum opt_id find_option(const char *arg, size_t len)
{
	for (int i = 0; i < N_OPTS; i++)
		if (strlen(OPTIONS[i].name) == len && memcmp(OPTIONS[i].name, arg, len) == 0)
			return i;
	const char *names[N_OPTS + 1] = { 0 };
	for (int i = 0; i < N_OPTS; i++)
		names[i] = OPTIONS[i].name;
	const char *near = strncmp(arg, "--", 2) == 0 ? nearest_name(slice_new(arg, len), names) : NULL;
	if (near)
		usage_error("unexpected argument '%.*s' found\n\n  tip: a similar argument exists: '%s'", (int)len, arg, near);
	usage_error("unexpected argument '%.*s' found", (int)len, arg);
}

static enum diag_format parse_format(const char *s)
{
	static const char *const names[] = { [DIAG_FULL] = "full", [DIAG_COMPACT] = "compact", [DIAG_PRETTY] = "pretty", [DIAG_JSON] = "json" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], s) == 0)
			return (enum diag_format)i;
	if (!*s)
		usage_error("a value is required for '--diag-format <DIAG_FORMAT>' but none was supplied\n  " FORMATS);
	usage_error("invalid value '%s' for '--diag-format <DIAG_FORMAT>'\n  " FORMATS, s);
}

static void add_script_arg(struct kumod_args *a, const char *value)
{
	a->script_args = xreallocarray(a->script_args, a->n_script_args + 1, sizeof *a->script_args);
	a->script_args[a->n_script_args++] = value;
}

static void apply(struct kumod_args *a, enum opt_id id, const char *value)
{
	switch (id) {
	case OPT_POLICY:	a->policy = value; break;
	case OPT_VALIDATE:	a->validate = true; break;
	case OPT_SCRIPT:	a->script = true; break;
	case OPT_DIAG_DIR:	a->diag_log_dir = value; break;
	case OPT_DIAG_FORMAT:	a->diag_format = parse_format(value); break;
	case OPT_OPENAPI:	a->dump_openapi = true; break;
	case OPT_LRUTTL:	a->dump_lruttl = true; break;
	case OPT_METRICS:	a->dump_metrics = true; break;
	case OPT_USER:		a->user = value; break;
	case OPT_SCRIPT_ARGS:	add_script_arg(a, value); break;
	case OPT_HELP:		print_help(); exit(0);
	case OPT_VERSION:	printf("kumod %s\n", KUMO_VERSION); exit(0);
	case N_OPTS:		break;
	}
}

void kumod_args_parse(struct kumod_args *a, int argc, char **argv)
{
	bool seen[N_OPTS] = { false }, needs_script = false;
	*a = (struct kumod_args){ .policy = DEFAULT_POLICY, .diag_format = DIAG_FULL };
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		if (strcmp(arg, "--") == 0) {
			needs_script |= i + 1 < argc;
			for (i++; i < argc; i++)
				add_script_arg(a, argv[i]);
			break;
		}
		if (strcmp(arg, "-h") == 0 || strcmp(arg, "-V") == 0)
			arg = arg[1] == 'h' ? "--help" : "--version";
		size_t len = strcspn(arg, "=");
		enum opt_id id = find_option(arg, arg[0] == '-' && arg[1] == '-' ? len : strlen(arg));
		const struct option_desc *o = &OPTIONS[id];
		const char *value = arg[len] == '=' ? arg + len + 1 : NULL;
		if (!o->value && value)
			usage_error("unexpected value '%s' for '%s' found; no more were expected", value, o->name);
		if (seen[id] && !o->repeats)
			usage_error("the argument '%s%s%s%s' cannot be used multiple times", o->name, o->value ? " <" : "", o->value ? o->value : "", o->value ? ">" : "");
		seen[id] = true;
		if (o->value && !value) {
			if (i + 1 >= argc || (argv[i + 1][0] == '-' && argv[i + 1][1]))
				usage_error("a value is required for '%s <%s>' but none was supplied%s", o->name, o->value, id == OPT_DIAG_FORMAT ? "\n  " FORMATS : "");
			value = argv[++i];
		}
		needs_script |= id == OPT_SCRIPT_ARGS;
		apply(a, id, value);
	}
	if (needs_script && !a->script)
		usage_error("the following required arguments were not provided:\n  --script");
}
