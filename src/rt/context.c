/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/context.h"
#include <assert.h>
#include <stdint.h>
#include <string.h>

#if CONTEXT_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#if CONTEXT_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* Saves the callee's registers on this stack, its pointer in *SAVE, and continues what was saved at TO. */
void context_swap(void **save, void *to) __asm__("kumo_context_swap");
void context_boot(void) __asm__("kumo_context_boot");

#if defined(__x86_64__)
__asm__(
	".text\n"
	".p2align 4\n"
	".globl kumo_context_swap\n"
	".hidden kumo_context_swap\n"
	".type kumo_context_swap, @function\n"
	"kumo_context_swap:\n"
	"	.cfi_startproc\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	subq $8, %rsp\n"
	"	stmxcsr (%rsp)\n"
	"	fnstcw 4(%rsp)\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	ldmxcsr (%rsp)\n"
	"	fldcw 4(%rsp)\n"
	"	addq $8, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	retq\n"
	"	.cfi_endproc\n"
	".size kumo_context_swap, .-kumo_context_swap\n"
	".globl kumo_context_boot\n"
	".hidden kumo_context_boot\n"
	".type kumo_context_boot, @function\n"
	"kumo_context_boot:\n"
	"	.cfi_startproc\n"
	"	.cfi_undefined rip\n"
	"	movq %r12, %rdi\n"
	"	callq *%r13\n"
	"	ud2\n"
	"	.cfi_endproc\n"
	".size kumo_context_boot, .-kumo_context_boot\n"
	".section .note.GNU-stack,\"\",@progbits\n"
	".text\n");

static void *boot_frame(char *top, void (*fn)(void *), void *arg)
{
	/* control words, r15 r14 r13 r12 rbx rbp, return address; boot starts with rsp aligned to 16 */
	uint64_t *sp = (uint64_t *)(top - 16) - 8;
	uint32_t mxcsr;
	uint16_t cw;

	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(cw));
	memset(sp, 0, 8 * 8);
	sp[0] = mxcsr | (uint64_t)cw << 32;
	sp[3] = (uint64_t)(uintptr_t)fn;
	sp[4] = (uint64_t)(uintptr_t)arg;
	sp[7] = (uint64_t)(uintptr_t)context_boot;
	return sp;
}
#elif defined(__aarch64__)
__asm__(
	".text\n"
	".p2align 4\n"
	".globl kumo_context_swap\n"
	".hidden kumo_context_swap\n"
	".type kumo_context_swap, %function\n"
	"kumo_context_swap:\n"
	"	.cfi_startproc\n"
	"	sub sp, sp, #176\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mrs x9, fpcr\n"
	"	str x9, [sp, #160]\n"
	"	mov x10, sp\n"
	"	str x10, [x0]\n"
	"	mov sp, x1\n"
	"	ldr x9, [sp, #160]\n"
	"	msr fpcr, x9\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	add sp, sp, #176\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size kumo_context_swap, .-kumo_context_swap\n"
	".globl kumo_context_boot\n"
	".hidden kumo_context_boot\n"
	".type kumo_context_boot, %function\n"
	"kumo_context_boot:\n"
	"	.cfi_startproc\n"
	"	.cfi_undefined x30\n"
	"	mov x0, x19\n"
	"	blr x20\n"
	"	brk #1\n"
	"	.cfi_endproc\n"
	".size kumo_context_boot, .-kumo_context_boot\n"
	".section .note.GNU-stack,\"\",%progbits\n"
	".text\n");

static void *boot_frame(char *top, void (*fn)(void *), void *arg)
{
	uint64_t *sp = (uint64_t *)(top - 176);
	uint64_t fpcr;

	__asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
	memset(sp, 0, 176);
	sp[0] = (uint64_t)(uintptr_t)arg;	    /* x19 */
	sp[1] = (uint64_t)(uintptr_t)fn;	    /* x20 */
	sp[11] = (uint64_t)(uintptr_t)context_boot; /* x30 */
	sp[20] = fpcr;
	return sp;
}
#else
#error "no context switch for this CPU: write one (some 30 instructions) in src/rt/context.c"
#endif

void context_init_thread(struct context *c)
{
	memset(c, 0, sizeof *c);
#if CONTEXT_TSAN
	c->tsan = __tsan_get_current_fiber();
#endif
}

void context_init(struct context *c, void *bottom, size_t size, void (*fn)(void *arg), void *arg)
{
	memset(c, 0, sizeof *c);
	assert(((uintptr_t)bottom + size) % 16 == 0);
	c->sp = boot_frame((char *)bottom + size, fn, arg);
#if CONTEXT_ASAN
	c->bottom = bottom;
	c->size = size;
#endif
#if CONTEXT_TSAN
	c->tsan = __tsan_create_fiber(0);
#endif
}

void context_fini(struct context *c)
{
#if CONTEXT_TSAN
	if (c->tsan)
		__tsan_destroy_fiber(c->tsan);
#endif
	memset(c, 0, sizeof *c);
}

void context_switch(struct context *from, struct context *to)
{
#if CONTEXT_TSAN
	__tsan_switch_to_fiber(to->tsan, 0);
#endif
#if CONTEXT_ASAN
	__sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->size);
#endif
	context_swap(&from->sp, to->sp);
#if CONTEXT_ASAN
	__sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

void context_started(struct context *from)
{
#if CONTEXT_ASAN
	__sanitizer_finish_switch_fiber(NULL, &from->bottom, &from->size);
#else
	(void)from;
#endif
}

void context_exit(struct context *from, struct context *to)
{
#if CONTEXT_TSAN
	__tsan_switch_to_fiber(to->tsan, 0);
#endif
#if CONTEXT_ASAN
	__sanitizer_start_switch_fiber(NULL, to->bottom, to->size);
#endif
	context_swap(&from->sp, to->sp);
	__builtin_unreachable();
}
