/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/context.h"

static const char *const NAMES[WHY_COUNT] = {
#define X(n, t) [n] = t,
	QUEUE_REASONS(X)
#undef X
};

const char *queue_reason_name(enum queue_reason r) { return NAMES[r]; }

void context_put(struct buf *b, const struct queue_context *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		if (i)
			buf_lit(b, ", ");
		buf_cstr_put(b, NAMES[c->why[i]]);
	}
}
