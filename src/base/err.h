/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err - the one table of expected failures, and the text that says what happened.
 *
 * A function that can fail returns 0 or a negative E_ code and sets a cause text for the operator: what, to what, where, what to
 * do. The text belongs to the running fiber (the thread, where there are no fibers) and stays until the next err_set. Add context on
 * the way up with err_prefix("reading %s", path): the text becomes "reading PATH: cause".
 *
 * Thread:  the text is the fiber's own.   Memory: bounded (8 KiB).   Yields: never.
 */
#pragma once
#include <stddef.h>
#include "base/obj.h"

#define ERR_TABLE(X)                                                        \
	X(E_INVAL, "invalid value")                                         \
	X(E_NOENT, "not found")                                             \
	X(E_EXIST, "exists already")                                        \
	X(E_IO, "input/output error")                                       \
	X(E_CLOSED, "connection closed")                                    \
	X(E_TIMEOUT, "timed out")                                           \
	X(E_CANCELED, "canceled")                                           \
	X(E_LIMIT, "limit reached")                                         \
	X(E_FULL, "no space")                                               \
	X(E_AGAIN, "try again later")                                       \
	X(E_PROTO, "protocol error")                                        \
	X(E_TLS, "TLS failure")                                             \
	X(E_DNS, "DNS failure")                                             \
	X(E_NXDOMAIN, "no such domain")                                     \
	X(E_POLICY, "policy error")                                         \
	X(E_REJECT, "rejected by policy")                                   \
	X(E_ACCESS, "permission denied")                                    \
	X(E_CORRUPT, "damaged data")                                        \
	X(E_UNSUPPORTED, "not supported")                                   \
	X(E_SHUTDOWN, "shutting down")

enum err_code {
	E_OK = 0,
#define X(name, text) name,
	ERR_TABLE(X)
#undef X
	E_COUNT
};

#define ERR_TEXT_MAX 8192
struct err_text {
	size_t len;
	char text[ERR_TEXT_MAX];
};

/* Sets the cause and returns -CODE:  return err_set(E_INVAL, "%s: unknown field", name); */
#define err_set(code, ...) (err_put(__VA_ARGS__), err_negative(code))
void err_put(const char *fmt, ...) PRINTF(1, 2);
/* Inline, so that the compiler sees that a failure is not 0 and does not fear for the out-parameters. */
static inline int err_negative(enum err_code code) { return -(int)code; }
int err_errno(enum err_code code, const char *fmt, ...) PRINTF(2, 3);	/* appends ": strerror(errno)"; ENOSPC gives -E_FULL, EACCES/EPERM -E_ACCESS, ENOENT -E_NOENT */
void err_prefix(const char *fmt, ...) PRINTF(1, 2);
const char *err_text(void);						/* "" when none was set */
const char *err_name(int rc);						/* "not found" for -E_NOENT or E_NOENT */
void err_clear(void);

/* Where err_set writes. The fiber switch sets it; NULL means the thread's own. Returns the one before. */
struct err_text *err_swap(struct err_text *t);
