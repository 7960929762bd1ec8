/* SPDX-License-Identifier: Apache-2.0 */
/* tailer - prints the records of log segments as they come, and remembers how far it got. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/timefmt.h"
#include "logs/tail.h"
#include "rt/diag.h"

#define POLL_MS 100

static const char USAGE[] = "Usage: tailer [OPTIONS] <DIRECTORY>\n";
static const char HELP[] =
    "Print the records of log segments as they are written\n\n"
    "Usage: tailer [OPTIONS] <DIRECTORY>\n\n"
    "Arguments:\n"
    "  <DIRECTORY>  The folder with the segments\n\n"
    "Options:\n"
    "      --pattern <PATTERN>              Which file names to read [default: *]\n"
    "      --checkpoint <CHECKPOINT>        Name of the hidden file in the folder that holds the position [default: tailer-checkpoint]\n"
    "      --batch-size <BATCH_SIZE>        After how many records the position is stored, at the latest [default: 1000]\n"
    "      --batch-latency <BATCH_LATENCY>  After how long the position is stored, at the latest [default: 1s]\n"
    "      --tail                           Begin with the newest segment; neither use nor store a position\n"
    "  -h, --help                           Print help\n\n"
    "It waits for more until Ctrl-C. Without --tail the position is stored beside the segments, and the next run goes on from there.\n\n"
    "Examples:\n"
    "  tailer --tail /var/log/kumomta                            look at what happens now\n"
    "  tailer --checkpoint billing /var/log/kumomta | billing    feed the records to a program\n";

struct options {
	const char *pattern, *checkpoint, *batch_size, *batch_latency, *directory;
	bool tail;
	uint64_t batch;
};

static int usage_error(const char *fmt, const char *a, const char *b)
{
	fprintf(stderr, fmt, a, b);
	fprintf(stderr, "\n\n%s\nFor more information, try '--help'.\n", USAGE);
	return 2;
}

/* 0: go on; otherwise the exit status + 1. */
static int parse_args(int argc, char **argv, struct options *o)
{
	const struct {
		const char *name, *value;
		const char **to;
	} VALUES[] = {
		{ "--pattern", "PATTERN", &o->pattern },
		{ "--checkpoint", "CHECKPOINT", &o->checkpoint },
		{ "--batch-size", "BATCH_SIZE", &o->batch_size },
		{ "--batch-latency", "BATCH_LATENCY", &o->batch_latency },
	};
	for (int i = 1; i < argc; i++) {
		size_t v = 0, len = strcspn(argv[i], "=");
		while (v < ARRAY_LEN(VALUES) && (strlen(VALUES[v].name) != len || strncmp(argv[i], VALUES[v].name, len) != 0))
			v++;
		if (v < ARRAY_LEN(VALUES)) {
			if (argv[i][len] == '=')
				*VALUES[v].to = argv[i] + len + 1;
			else if (++i < argc)
				*VALUES[v].to = argv[i];
			else
				return 1 + usage_error("error: a value is required for '%s <%s>' but none was supplied", VALUES[v].name, VALUES[v].value);
		} else if (strcmp(argv[i], "--tail") == 0) {
			o->tail = true;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(HELP, stdout);
			return 1;
		} else if ((argv[i][0] == '-' && argv[i][1]) || o->directory) {
			return 1 + usage_error("error: unexpected argument '%s' found%s", argv[i], "");
		} else {
			o->directory = argv[i];
		}
	}
	int64_t ns;
	if (o->directory == NULL)
		return 1 + usage_error("error: the following required arguments were not provided:\n  %s%s", "<DIRECTORY>", "");
	if (slice_to_u64(slice_from_cstr(o->batch_size), &o->batch) < 0 || o->batch == 0)
		return 1 + usage_error("error: invalid value '%s' for '--batch-size <BATCH_SIZE>': %s", o->batch_size, "expected a number above 0");
	if (duration_parse(slice_from_cstr(o->batch_latency), &ns) < 0)
		return 1 + usage_error("error: invalid value '%s' for '--batch-latency <BATCH_LATENCY>': %s", o->batch_latency, err_text());
	return 0;
}

/* Prints what there is; the position is stored when there is nothing more, or after a batch. */
static int print_some(struct tail *t, const struct options *o)
{
	struct slice line;
	uint64_t n = 0;
	int rc = 0;
	while (n < o->batch && (rc = tail_next(t, &line)) > 0) {
		fwrite(line.ptr, 1, line.len, stdout);
		putchar('\n');
		n++;
	}
	if (fflush(stdout) != 0)
		return err_errno(E_IO, "writing to standard output");
	if (rc < 0 || (n > 0 && !o->tail && (rc = checkpoint_save(o->directory, o->checkpoint, tail_at(t))) < 0))
		return rc;
	return n > 0;
}

int main(int argc, char **argv)
{
	struct options o = { .pattern = "*", .checkpoint = "tailer-checkpoint", .batch_size = "1000", .batch_latency = "1s" };
	int rc = parse_args(argc, argv, &o);
	if (rc != 0)
		return rc - 1;
	if (diag_init("warn", DIAG_FULL, NULL) < 0)
		return 1;
	signal(SIGPIPE, SIG_DFL);
	struct tail_pos from = { 0 };
	rc = o.tail ? tail_newest(o.directory, slice_from_cstr(o.pattern), &from) : checkpoint_load(o.directory, o.checkpoint, &from);
	struct tail *t = NULL;
	if (rc >= 0)
		rc = tail_open(o.directory, slice_from_cstr(o.pattern), &from, &t);
	while (rc >= 0)
		if ((rc = print_some(t, &o)) == 0)
			nanosleep(&(struct timespec){ .tv_nsec = POLL_MS * 1000000L }, NULL);
	fprintf(stderr, "Error: %s\n", err_text());
	tail_close(&t);
	tail_pos_fini(&from);
	return 1;
}
