/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash - says which fiber it was that ran out of stack, before the process dies of it as it must.
 *
 * The handler runs on a stack of its own, since the fiber's is what has ended; it allocates nothing, and the second fault is the default's.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/xalloc.h"
#include "rt/internal.h"

#define HANDLER_STACK (32 * 1024)

static __thread void *handler_stack;

static void say(const char *s)
{
	ssize_t n = write(STDERR_FILENO, s, strlen(s));
	(void)n;
}

static void on_fault(int sig, siginfo_t *si, void *context)
{
	const struct rt_shard *s = rt_tl_shard;
	const struct rt_fiber *f = s ? s->current : NULL;
	const char *at = si->si_addr;

	if (f && f->stack && at < f->stack && at >= f->stack - STACK_GUARD) {
		say("fatal: stack overflow in fiber \"");
		say(f->name);
		say("\"\n");
	}
	/* SA_RESETHAND: returning repeats the instruction, and this time nobody catches it */
}

void crash_thread_init(void)
{
#if !CONTEXT_ASAN && !CONTEXT_TSAN
	handler_stack = xmalloc(HANDLER_STACK);
	stack_t ss = { .ss_sp = handler_stack, .ss_size = HANDLER_STACK };
	sigaltstack(&ss, NULL);
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND };
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
#else
	(void)on_fault; /* the sanitizers say more */
#endif
}

void crash_thread_fini(void)
{
	if (handler_stack == NULL)
		return;
	stack_t ss = { .ss_flags = SS_DISABLE };
	sigaltstack(&ss, NULL);
	free(handler_stack);
	handler_stack = NULL;
}
