/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top: what comes in and goes out, and the busiest queues, again and again.
 *
 * On a terminal it has the screen to itself and gives it back as it was; a daemon that goes away is waited for. Elsewhere it prints one look
 * after the other, and ends at the first that fails.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "kcli/commands.h"
#include "kcli/table.h"
#include "rt/clock.h"

#define LINES_AROUND 8		/* the counts and the heads of two tables, with blank lines between */
#define LINES_ELSEWHERE 20

static volatile sig_atomic_t asked_to_end;

static void on_signal(int sig) { asked_to_end = sig; }

/* --- counts ------------------------------------------------------------------------------------------------------------ */

/* Each is a number now, or how much it grew in a second. */
static const struct count {
	const char *title, *metric;
	const char *services[3];	/* labels that are summed; none: the metric has no label */
	bool rate;
	int64_t unit;		/* 0: 1 */
} COUNTS[] = {
	{ "in/s", "total_messages_received", { "esmtp_listener", "http_listener" }, true },
	{ "out/s", "total_messages_delivered", { "smtp_client" }, true },
	{ "defer/s", "total_messages_transfail", { "smtp_client" }, true },
	{ "fail/s", "total_messages_fail", { "smtp_client" }, true },
	{ "refused", "smtp_server_rejections", { "total" } },
	{ "clients", "connection_count", { "esmtp_listener" } },
	{ "conns", "connection_count", { "smtp_client" } },
	{ "scheduled", "scheduled_count_total", { NULL } },
	{ "messages", "message_count", { NULL } },
	{ "bodies", "message_data_resident_count", { NULL } },
	{ "MiB", "memory_usage", { NULL }, .unit = 1 << 20 },
};

struct looks {
	int64_t before[ARRAY_LEN(COUNTS)];
	int64_t at_us;		/* when; 0: there was none */
	bool screen;
};

static int64_t count_now(const struct val *metrics, const struct count *k)
{
	const struct val *family = val_get(metrics, slice_from_cstr(k->metric)), *value = family ? val_get_lit(family, "value") : NULL;
	int64_t sum = 0;

	if (!k->services[0])
		return value ? metric_number(value) / (k->unit ? k->unit : 1) : 0;
	const struct val *values = metric_values(metrics, k->metric, "service");
	for (const char *const *s = k->services; values && *s; s++) {
		const struct val *v = val_get(values, slice_from_cstr(*s));
		sum += v ? metric_number(v) : 0;
	}
	return sum;
}

static void print_counts(struct client *c, const struct val *metrics, struct looks *l)
{
	struct table_column columns[ARRAY_LEN(COUNTS)];
	const char *cells[ARRAY_LEN(COUNTS)];
	int64_t now_us = rt_now_us_exact(), passed_us = l->at_us ? MAX(now_us - l->at_us, 1) : 0;

	for (size_t i = 0; i < ARRAY_LEN(COUNTS); i++) {
		int64_t n = count_now(metrics, &COUNTS[i]), grown = MAX(n - l->before[i], 0);	/* a daemon that was started again counts from 0 */
		char *text = arena_alloc(c->arena, 32);
		table_number(text, !COUNTS[i].rate ? n : passed_us ? (int64_t)((double)grown * 1e6 / (double)passed_us + 0.5) : 0);
		columns[i] = (struct table_column){ COUNTS[i].title, true };
		cells[i] = text;
		l->before[i] = n;
	}
	l->at_us = now_us;
	table_print(columns, ARRAY_LEN(COUNTS), cells, 1);
	putchar('\n');
}

static int look(const struct args *a, struct looks *l, int64_t limit)
{
	struct queue_state s;
	struct client c;

	if (client_open(&c, a) < 0)
		return -E_INVAL;
	int rc = queue_state_fetch(&c, &s);
	if (rc == 0) {
		if (l->screen)
			fputs("\033[?7l", stdout);	/* tables are cut at the edge, errors are not */
		print_counts(&c, &s.metrics, l);
		queue_state_print(&c, &s, NULL, true, limit);
	}
	fflush(stdout);
	client_close(&c);
	return rc;
}

/* --- the screen -------------------------------------------------------------------------------------------------------- */

/* Keys come one at a time and are not shown. */
static void screen_begin(struct termios *before)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, before) == 0) {
		raw = *before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	fputs("\033[?1049h\033[?25l", stdout);
}

static void screen_end(const struct termios *before)
{
	tcsetattr(STDIN_FILENO, TCSANOW, before);
	fputs("\033[?7h\033[?25h\033[?1049l", stdout);
	fflush(stdout);
}

static int64_t lines_for_each(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0)
		return LINES_ELSEWHERE;
	return MAX((size.ws_row - LINES_AROUND) / 2, 1);
}

/* Until the next look is due; whether to end instead. */
static bool pause_or_quit(int ms)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char key;

	if (asked_to_end || poll(&p, 1, ms) <= 0)
		return asked_to_end;
	return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == '\033';
}

static int on_screen(const struct args *a, int ms)
{
	struct looks looks = { .screen = true };
	struct termios before;
	struct client c;

	if (client_open(&c, a) < 0)	/* no URL: it won't become one */
		return 1;
	client_close(&c);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	screen_begin(&before);
	do {
		fputs("\033[?7h\033[H\033[2J", stdout);
		fflush(stdout);
		if (look(a, &looks, lines_for_each()) < 0)
			looks.at_us = 0;	/* what is found later is not of this interval */
	} while (!pause_or_quit(ms));
	screen_end(&before);
	return 0;
}

int kcli_top(const struct args *a)
{
	double seconds = strtod(args_get(a, "--update-interval"), NULL);
	int ms = (int)(MIN(MAX(seconds, 0.1), 86400.0) * 1000);
	struct looks looks = { 0 };

	if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		return on_screen(a, ms);
	while (look(a, &looks, LINES_ELSEWHERE) == 0)
		usleep((useconds_t)ms * 1000);
	return 1;
}
