/* SPDX-License-Identifier: Apache-2.0 */
#include "kcli/args.h"
#include "base/err.h"
#include "base/nearest.h"
#include "base/timefmt.h"
#include "base/uuid.h"
#include <stdio.h>
#include <stdlib.h>

#define WIDTH 96

/* --- tables ------------------------------------------------------------------------------------------------------------ */

static bool is_option(const struct arg_spec *s) { return s->name[0] == '-'; }

static void put_spec(struct buf *b, const struct arg_spec *s)
{
	buf_cstr_put(b, s->name);
	if (s->value)
		buf_printf(b, " <%s>", s->value);
}

static int index_of(const struct arg_spec *specs, const char *name)
{
	for (int i = 0; specs[i].name; i++) {
		if (strcmp(specs[i].name, name) == 0)
			return i;
	}
	return -1;
}

/* What may be given several times stands last. */
static void put_group(struct buf *b, const struct arg_spec *specs)
{
	const char *sep = "<";

	for (int multi = 0; multi < 2; multi++) {
		for (const struct arg_spec *s = specs; s->name; s++) {
			if (!s->one_of || s->multi != multi)
				continue;
			buf_cstr_put(b, sep);
			put_spec(b, s);
			sep = "|";
		}
	}
	buf_putc(b, '>');
}

static bool has_group(const struct arg_spec *specs)
{
	for (const struct arg_spec *s = specs; s->name; s++) {
		if (s->one_of)
			return true;
	}
	return false;
}

static void put_usage(struct buf *b, const struct arg_program *p, const struct arg_command *c)
{
	const struct arg_spec *specs = c ? c->specs : p->specs;
	bool optional = false;

	buf_printf(b, "Usage: %s", p->name);
	if (c)
		buf_printf(b, " %s", c->name);
	for (const struct arg_spec *s = specs; s->name; s++)
		optional = optional || (is_option(s) && !s->required && !s->one_of);
	if (optional)
		buf_lit(b, " [OPTIONS]");
	for (const struct arg_spec *s = specs; s->name; s++) {
		if (is_option(s) && s->required) {
			buf_putc(b, ' ');
			put_spec(b, s);
		}
	}
	if (has_group(specs)) {
		buf_putc(b, ' ');
		put_group(b, specs);
	}
	for (const struct arg_spec *s = specs; s->name; s++) {
		if (!is_option(s))
			buf_printf(b, " %s", s->name);
	}
	if (!c)
		buf_lit(b, " <COMMAND>");
	buf_putc(b, '\n');
}

/* --- help -------------------------------------------------------------------------------------------------------------- */

static void put_wrapped(struct buf *b, const char *text, size_t indent)
{
	size_t column = 0;
	struct slice rest = slice_from_cstr(text), word;

	while (slice_split_next(&rest, ' ', &word)) {
		if (column && column + 1 + word.len > WIDTH - indent) {
			buf_putc(b, '\n');
			column = 0;
		}
		if (column == 0)
			buf_printf(b, "%*s", (int)indent, "");
		else
			buf_putc(b, ' ');
		column += word.len + (column ? 1 : 0);
		buf_slice(b, word);
	}
	buf_putc(b, '\n');
}

static void put_choices(struct buf *b, const char *choices)
{
	struct slice rest = slice_from_cstr(choices), c;
	const char *sep = "";

	buf_lit(b, "          [possible values: ");
	while (slice_split_next(&rest, ' ', &c)) {
		buf_printf(b, "%s%.*s", sep, SLICE_ARG(c));
		sep = ", ";
	}
	buf_lit(b, "]\n");
}

static void put_entry(struct buf *b, const struct arg_spec *s)
{
	buf_cstr_put(b, is_option(s) ? "      " : "  ");
	put_spec(b, s);
	buf_putc(b, '\n');
	put_wrapped(b, s->help, 10);
	if (s->dflt)
		buf_printf(b, "          [default: %s]\n", s->dflt);
	if (s->choices)
		put_choices(b, s->choices);
	buf_putc(b, '\n');
}

static void put_section(struct buf *b, const char *title, const struct arg_spec *specs, bool options)
{
	bool any = options;

	for (const struct arg_spec *s = specs; s->name; s++)
		any = any || is_option(s) == options;
	if (!any)
		return;
	buf_printf(b, "\n%s:\n", title);
	for (const struct arg_spec *s = specs; s->name; s++) {
		if (is_option(s) == options)
			put_entry(b, s);
	}
	if (options)
		buf_lit(b, "  -h, --help\n          Print help\n");
}

static int help(const struct arg_program *p, const struct arg_command *c)
{
	struct buf b = { 0 };

	put_wrapped(&b, c ? c->about : p->about, 0);
	buf_putc(&b, '\n');
	put_usage(&b, p, c);
	if (!c) {
		buf_lit(&b, "\nCommands:\n");
		for (const struct arg_command *k = p->commands; k->name; k++)
			buf_printf(&b, "  %-22s  %s\n", k->name, k->about);
		buf_printf(&b, "  %-22s  %s\n", "help", "Print this text, or that of a subcommand");
	}
	put_section(&b, "Arguments", c ? c->specs : p->specs, false);
	put_section(&b, "Options", c ? c->specs : p->specs, true);
	if (!c)
		buf_lit(&b, "\n  -V, --version\n          Print the version\n");
	if (c ? c->details : p->details)
		buf_printf(&b, "\n%s\n", c ? c->details : p->details);
	fwrite(b.ptr, 1, b.len, stdout);
	buf_fini(&b);
	return 0;
}

/* --- errors ------------------------------------------------------------------------------------------------------------ */

static int complain(const struct arg_program *p, const struct arg_command *c, const char *fmt, ...) PRINTF(3, 4);
static int complain(const struct arg_program *p, const struct arg_command *c, const char *fmt, ...)
{
	struct buf b = { 0 };
	va_list ap;

	buf_lit(&b, "error: ");
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	buf_lit(&b, "\n\n");
	put_usage(&b, p, c);
	buf_lit(&b, "\nFor more information, try '--help'.\n");
	fwrite(b.ptr, 1, b.len, stderr);
	buf_fini(&b);
	return 2;
}

static int bad_value(const struct args *a, const struct arg_spec *s, const char *text, const char *why)
{
	struct buf b = { 0 };

	put_spec(&b, s);
	int rc = complain(a->program, a->command, "invalid value '%s' for '%s': %s", text, buf_cstr(&b), why);
	buf_fini(&b);
	return rc;
}

static bool word_in(const char *words, struct slice word)
{
	struct slice rest = slice_from_cstr(words), w;

	while (slice_split_next(&rest, ' ', &w)) {
		if (slice_eq(w, word))
			return true;
	}
	return false;
}

static int check_value(const struct args *a, const struct arg_spec *s, const char *text)
{
	const char *why = s->check ? s->check(text) : NULL;

	if (why)
		return bad_value(a, s, text, why);
	if (s->choices && !word_in(s->choices, slice_from_cstr(text)))
		return bad_value(a, s, text, "not one of the possible values");
	return 0;
}

static int check_conflicts(const struct args *a)
{
	const struct arg_spec *specs = a->command->specs;

	for (int i = 0; specs[i].name; i++) {
		for (int k = 0; a->n_values[i] && specs[i].conflicts && specs[k].name; k++) {
			if (k == i || !a->n_values[k] || !word_in(specs[i].conflicts, slice_from_cstr(specs[k].name)))
				continue;
			struct buf one = { 0 }, other = { 0 };
			put_spec(&one, &specs[i]);
			put_spec(&other, &specs[k]);
			int rc = complain(a->program, a->command, "the argument '%s' cannot be used with '%s'", buf_cstr(&one), buf_cstr(&other));
			buf_fini(&one);
			buf_fini(&other);
			return rc;
		}
	}
	return 0;
}

static int check_required(const struct args *a)
{
	const struct arg_spec *specs = a->command->specs;
	struct buf b = { 0 };
	bool group = false;
	int rc = 0;

	for (int i = 0; specs[i].name; i++) {
		group = group || (specs[i].one_of && a->n_values[i]);
		if (specs[i].required && !a->n_values[i]) {
			buf_lit(&b, "\n  ");
			put_spec(&b, &specs[i]);
		}
	}
	if (has_group(specs) && !group) {
		buf_lit(&b, "\n  ");
		put_group(&b, specs);
	}
	if (b.len)
		rc = complain(a->program, a->command, "the following required arguments were not provided:%s", buf_cstr(&b));
	buf_fini(&b);
	return rc;
}

/* --- parsing ----------------------------------------------------------------------------------------------------------- */

static int take_option(struct args *a, char **argv, int *at)
{
	const struct arg_spec *specs = a->command->specs;
	char *equals = strchr(argv[*at], '=');
	char name[64];

	snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - argv[*at]) : 63, argv[*at]);
	int i = index_of(specs, name);
	if (i < 0)
		return complain(a->program, a->command, "unexpected argument '%s' found", argv[*at]);
	const struct arg_spec *s = &specs[i];
	const char *text = "";
	if (s->value) {
		text = equals ? equals + 1 : argv[*at + 1];
		if (!text || (!equals && text[0] == '-' && text[1] == '-'))
			return bad_value(a, s, "", "a value is required");
		if (!equals && text[0] == '-' && text[1])
			return complain(a->program, a->command, "unexpected argument '%s' found", text);
		if (!equals)
			++*at;
	} else if (equals) {
		return complain(a->program, a->command, "unexpected value '%s' for '%s' found; no more were expected", equals + 1, name);
	}
	if (a->n_values[i] && !s->multi)
		return complain(a->program, a->command, "the argument '%s' cannot be used multiple times", name);
	if (a->n_values[i] == ARGS_VALUES_MAX)
		return complain(a->program, a->command, "the argument '%s' was given more than %d times", name, ARGS_VALUES_MAX);
	a->values[i][a->n_values[i]++] = text;
	return s->value ? check_value(a, s, text) : 0;
}

static int take_argument(struct args *a, const char *text)
{
	const struct arg_spec *specs = a->command->specs;

	for (int i = 0; specs[i].name; i++) {
		if (!is_option(&specs[i]) && !a->n_values[i]) {
			a->values[i][a->n_values[i]++] = text;
			return check_value(a, &specs[i], text);
		}
	}
	return complain(a->program, a->command, "unexpected argument '%s' found", text);
}

static bool wants_help(const char *text) { return strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0; }

/* 0 and on: run it; -1: done, *STATUS. */
static int parse_command(struct args *a, int argc, char **argv, int *status)
{
	bool options = true;

	for (int i = 0; i < argc; i++) {
		if (options && wants_help(argv[i])) {
			*status = help(a->program, a->command);
			return -1;
		}
		if (options && strcmp(argv[i], "--") == 0) {
			options = false;
			continue;
		}
		*status = options && argv[i][0] == '-' && argv[i][1] ? take_option(a, argv, &i) : take_argument(a, argv[i]);
		if (*status)
			return -1;
	}
	*status = check_conflicts(a);
	if (*status == 0)
		*status = check_required(a);
	return *status ? -1 : 0;
}

static const struct arg_command *command_named(const struct arg_program *p, const char *name)
{
	for (const struct arg_command *c = p->commands; c->name; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

static int unknown_command(const struct arg_program *p, const char *name)
{
	const char *names[64];
	size_t n = 0;

	for (const struct arg_command *c = p->commands; c->name && n < ARRAY_LEN(names) - 1; c++)
		names[n++] = c->name;
	names[n] = NULL;
	const char *near = nearest_name(slice_from_cstr(name), names);
	return complain(p, NULL, "unrecognized subcommand '%s'%s%s%s", name, near ? "\n\n  tip: a similar subcommand exists: '" : "", near ? near : "", near ? "'" : "");
}

/* An option before the subcommand. */
static int take_global(struct args *a, char **argv, int *at)
{
	const struct arg_spec *specs = a->program->specs;
	char *equals = strchr(argv[*at], '=');
	char name[64];

	snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - argv[*at]) : 63, argv[*at]);
	int i = index_of(specs, name);
	if (i < 0)
		return complain(a->program, NULL, "unexpected argument '%s' found", argv[*at]);
	a->globals[i] = equals ? equals + 1 : argv[*at + 1];
	if (!a->globals[i])
		return complain(a->program, NULL, "a value is required for '%s <%s>' but none was supplied", name, specs[i].value);
	*at += equals ? 0 : 1;
	return 0;
}

int args_run(const struct arg_program *p, int argc, char **argv)
{
	struct args *a = calloc(1, sizeof *a);
	int i = 1, status = 0;

	assert(a);
	a->program = p;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (wants_help(argv[i])) {
			status = help(p, NULL);
			goto out;
		}
		if (strcmp(argv[i], "--version") == 0 || strcmp(argv[i], "-V") == 0) {
			printf("%s %s\n", p->name, p->version);
			goto out;
		}
		if ((status = take_global(a, argv, &i)) != 0)
			goto out;
	}
	if (i == argc) {
		status = complain(p, NULL, "'%s' requires a subcommand but one was not provided", p->name);
		goto out;
	}
	bool asks_help = strcmp(argv[i], "help") == 0;
	if (asks_help && i + 1 == argc) {
		status = help(p, NULL);
		goto out;
	}
	i += asks_help;
	a->command = command_named(p, argv[i]);
	if (!a->command)
		status = unknown_command(p, argv[i]);
	else if (asks_help)
		status = help(p, a->command);
	else if (parse_command(a, argc - i - 1, argv + i + 1, &status) == 0)
		status = a->command->run(a);
out:
	free(a);
	return status;
}

/* --- asking ------------------------------------------------------------------------------------------------------------ */

static int spec_index(const struct args *a, const char *name)
{
	int i = index_of(a->command->specs, name);

	assert(i >= 0);
	return i;
}

const char *args_get(const struct args *a, const char *name)
{
	int i = spec_index(a, name);

	return a->n_values[i] ? a->values[i][0] : a->command->specs[i].dflt;
}

bool args_has(const struct args *a, const char *name) { return a->n_values[spec_index(a, name)] > 0; }
size_t args_count(const struct args *a, const char *name) { return a->n_values[spec_index(a, name)]; }
const char *args_at(const struct args *a, const char *name, size_t i) { return a->values[spec_index(a, name)][i]; }
const char *args_global(const struct args *a, const char *name) { return a->globals[index_of(a->program->specs, name)]; }

const char *arg_check_uuid(const char *text)
{
	struct uuid id;

	return uuid_parse(slice_from_cstr(text), &id) < 0 ? "expected an id such as d7ef132b-5d77-11ee-a8c8-000c29c33806" : NULL;
}

const char *arg_check_duration(const char *text)
{
	int64_t ns;

	return duration_parse(slice_from_cstr(text), &ns) < 0 ? "expected a duration such as 90s, 5m or 1h 30m" : NULL;
}

const char *arg_check_number(const char *text)
{
	uint64_t n;

	return slice_to_u64(slice_from_cstr(text), &n) < 0 ? "expected a number" : NULL;
}

const char *arg_check_url(const char *text)
{
	return strstr(text, "://") ? NULL : "relative URL without a base";
}
