/* SPDX-License-Identifier: Apache-2.0 */
/*
 * args - command lines described by tables: subcommands with options, arguments, groups; parsing, usage, help and errors follow.
 *
 * What is wrong goes to stderr as "error: …" with the usage line, exit status 2; --help goes to stdout, exit status 0.
 *
 * Thread:  main thread.   Memory: views argv.   Yields: never.
 */
#pragma once
#include "base/slice.h"

#define ARGS_MAX 24
#define ARGS_VALUES_MAX 64

struct arg_spec {
	const char *name;	/* "--domain", or "<ID>", "[SOURCE]" for an argument by position; NULL ends the table */
	const char *value;	/* of an option: "DOMAIN"; NULL: a flag */
	const char *help;
	bool required;
	bool multi;
	bool one_of;		/* one of the options marked so must be given */
	const char *conflicts;	/* names of options, separated by blanks, that it cannot go with */
	const char *dflt;	/* shown, and used */
	const char *choices;	/* separated by blanks */
	const char *(*check)(const char *text);	/* NULL: fine; else what is wrong */
};
struct args;
struct arg_command {
	const char *name, *about;
	const char *details;	/* paragraphs of the long help, with examples; may be NULL */
	const struct arg_spec *specs;
	int (*run)(const struct args *a);
};
struct arg_program {
	const char *name, *about, *details;
	const struct arg_spec *specs;		/* options before the subcommand */
	const struct arg_command *commands;	/* ends with a NULL name */
	const char *version;
};
struct args {
	const struct arg_program *program;
	const struct arg_command *command;
	const char *values[ARGS_MAX][ARGS_VALUES_MAX];	/* of the command's specs */
	size_t n_values[ARGS_MAX];
	const char *globals[ARGS_MAX];
};

/* Runs the subcommand that ARGV names; the program's exit status. */
int args_run(const struct arg_program *p, int argc, char **argv);

const char *args_get(const struct args *a, const char *name);		/* the value, or the default, or NULL */
bool args_has(const struct args *a, const char *name);
size_t args_count(const struct args *a, const char *name);
const char *args_at(const struct args *a, const char *name, size_t i);
const char *args_global(const struct args *a, const char *name);

const char *arg_check_uuid(const char *text);
const char *arg_check_duration(const char *text);
const char *arg_check_number(const char *text);
const char *arg_check_url(const char *text);
