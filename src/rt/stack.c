/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/stack.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/err.h"
#include "base/xalloc.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#define SLAB_STACKS 32
#define WARM_STACKS 32

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

static bool guard_install(void *at)
{
	static atomic_bool no_light_guards;

	if (!atomic_load_explicit(&no_light_guards, memory_order_relaxed)) {
		if (madvise(at, STACK_GUARD, MADV_GUARD_INSTALL) == 0)
			return true;
		if (errno != EINVAL)
			return false;
		atomic_store_explicit(&no_light_guards, true, memory_order_relaxed);
	}
	return mprotect(at, STACK_GUARD, PROT_NONE) == 0;
}

static int out_of_maps(const struct stack_pool *p)
{
	if (errno == ENOMEM)
		return err_set(E_LIMIT, "no more memory mappings for fiber stacks (%u in use on this shard): raise vm.max_map_count with sysctl (65530 allows about 32000 "
			       "connections) or the limit on address space", p->in_use);
	return err_errno(E_LIMIT, "reserving fiber stacks");
}

static int slab_add(struct stack_pool *p)
{
	char *slab = mmap(NULL, STACK_BYTES * SLAB_STACKS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (slab == MAP_FAILED)
		return out_of_maps(p);
	(void)madvise(slab, STACK_BYTES * SLAB_STACKS, MADV_NOHUGEPAGE); /* one touched page must not become 2 MiB; kernels without huge pages refuse */
	int guarded = 0;
	while (guarded < SLAB_STACKS && guard_install(slab + guarded * STACK_BYTES))
		guarded++;
	if (guarded == 0) {
		int rc = out_of_maps(p);
		munmap(slab, STACK_BYTES * SLAB_STACKS);
		return rc;
	}
	if (p->nslabs == p->slabs_cap)
		p->slabs = xreallocarray(p->slabs, p->slabs_cap = p->slabs_cap ? p->slabs_cap * 2 : 16, sizeof *p->slabs);
	p->slabs[p->nslabs++] = slab;
	if (p->n + guarded > p->cap)
		p->free = xreallocarray(p->free, p->cap = p->cap * 2 + SLAB_STACKS, sizeof *p->free);
	while (guarded-- > 0)
		p->free[p->n++] = slab + guarded * STACK_BYTES + STACK_GUARD;
	return 0;
}

char *stack_get(struct stack_pool *p)
{
	if (p->n == 0 && slab_add(p) < 0)
		return NULL;
	p->in_use++;
	if (p->in_use > p->peak)
		p->peak = p->in_use;
	return p->free[--p->n];
}

void stack_put(struct stack_pool *p, char *stack)
{
	assert(p->in_use > 0);
	p->in_use--;
	ASAN_UNPOISON_MEMORY_REGION(stack, STACK_SIZE);
	if (p->n == p->cap)
		p->free = xreallocarray(p->free, p->cap = p->cap * 2 + SLAB_STACKS, sizeof *p->free);
	if (p->n >= WARM_STACKS)
		stack_trim(stack, stack + STACK_SIZE);
	p->free[p->n++] = stack;
}

void stack_trim(char *stack, const char *sp)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t below = (size_t)(sp - stack) & ~(page - 1);

	assert(sp >= stack && sp <= stack + STACK_SIZE);
	if (below)
		(void)madvise(stack, below, MADV_DONTNEED);
}

void stack_pool_fini(struct stack_pool *p)
{
	assert(p->in_use == 0);
	for (uint32_t i = 0; i < p->nslabs; i++)
		munmap(p->slabs[i], STACK_BYTES * SLAB_STACKS);
	free(p->slabs);
	free(p->free);
	*p = (struct stack_pool){ 0 };
}
