/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static __thread struct err_text thread_text;
static __thread struct err_text *fiber_text;

/* A thread's running fiber may change inside a called function: the address must be taken anew each time. */
static __attribute__((noinline)) struct err_text *current(void)
{
	return fiber_text != NULL ? fiber_text : &thread_text;
}

static void set_v(struct err_text *t, const char *fmt, va_list ap) PRINTF(2, 0);
static void set_v(struct err_text *t, const char *fmt, va_list ap)
{
	/* The arguments may point into the text that is replaced. */
	char text[ERR_TEXT_MAX];
	int n = vsnprintf(text, sizeof text, fmt, ap);
	t->len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
	memcpy(t->text, text, t->len);
	t->text[t->len] = '\0';
}

static void append(struct err_text *t, const char *s)
{
	size_t n = strlen(s), room = sizeof t->text - 1 - t->len;
	n = MIN(n, room);
	memcpy(t->text + t->len, s, n);
	t->len += n;
	t->text[t->len] = '\0';
}

void err_put(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	set_v(current(), fmt, ap);
	va_end(ap);
}

int err_errno(enum err_code code, const char *fmt, ...)
{
	int saved = errno;
	char reason[256];
	va_list ap;
	va_start(ap, fmt);
	set_v(current(), fmt, ap);
	va_end(ap);
	append(current(), ": ");
	append(current(), strerror_r(saved, reason, sizeof reason));
	switch (saved) {
	case ENOSPC:
	case EDQUOT:
		return -E_FULL;
	case EACCES:
	case EPERM:
		return -E_ACCESS;
	case ENOENT:
		return -E_NOENT;
	default:
		return -(int)code;
	}
}

void err_prefix(const char *fmt, ...)
{
	struct err_text *t = current();
	char cause[ERR_TEXT_MAX];
	memcpy(cause, t->text, t->len);
	cause[t->len] = '\0';
	va_list ap;
	va_start(ap, fmt);
	set_v(t, fmt, ap);
	va_end(ap);
	append(t, ": ");
	append(t, cause);
}

const char *err_text(void)
{
	return current()->text;
}

void err_clear(void)
{
	current()->len = 0;
	current()->text[0] = '\0';
}

const char *err_name(int rc)
{
	static const char *const names[E_COUNT] = {
		[E_OK] = "success",
#define X(name, text) [name] = text,
		ERR_TABLE(X)
#undef X
	};
	int code = rc < 0 ? -rc : rc;
	return code < E_COUNT ? names[code] : "unknown error";
}

struct err_text *err_swap(struct err_text *t)
{
	struct err_text *before = fiber_text;
	fiber_text = t;
	return before;
}
