/* SPDX-License-Identifier: Apache-2.0 */
/*
 * context - switching the CPU from one stack to another.
 *
 * Written by hand for x86-64 and aarch64, because swapcontext makes a system call each time (450 ns against 10). Saved are the registers
 * that the ABI lets a callee keep, and the floating-point control words. AddressSanitizer and ThreadSanitizer are told of every switch.
 *
 * Thread:  a context is switched from and to on one thread.   Memory: embedded; the stack is the caller's.   Yields: it is what yielding is.
 */
#pragma once
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define CONTEXT_ASAN 1
#else
#define CONTEXT_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__)
#define CONTEXT_TSAN 1
#else
#define CONTEXT_TSAN 0
#endif

struct context {
	void *sp;
#if CONTEXT_ASAN
	void *fake_stack;
	const void *bottom;
	size_t size;
#endif
#if CONTEXT_TSAN
	void *tsan;
#endif
};

/* The context of the calling thread itself, before its first switch. */
void context_init_thread(struct context *c);
/* A context that will run FN(ARG) on the stack [BOTTOM, BOTTOM+SIZE). FN calls context_started first and never returns. */
void context_init(struct context *c, void *bottom, size_t size, void (*fn)(void *arg), void *arg);
void context_fini(struct context *c);
void context_switch(struct context *from, struct context *to);
/* At the start of FN, with the context that was switched from. */
void context_started(struct context *from);
/* The last switch of FROM, whose stack may be reused then. */
void context_exit(struct context *from, struct context *to) __attribute__((noreturn));
