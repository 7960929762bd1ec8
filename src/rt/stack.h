/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stack - fiber stacks: address space reserved in slabs, committed as it is touched, a guard page below each.
 *
 * Where the kernel has MADV_GUARD_INSTALL (Linux 6.13) guards cost no mapping of their own; elsewhere each stack splits its slab into
 * two mappings more, and vm.max_map_count (65,530 unless raised) ends it near 32,000 fibers. A shard keeps a few stacks warm; the others
 * give their memory back when they are returned.
 *
 * Thread:  a pool belongs to one shard.   Memory: slabs are kept until stack_pool_fini.   Yields: never.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/obj.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_BYTES ((size_t)1024 * 1024)	/* instrumented frames are several times as large */
#else
#define STACK_BYTES ((size_t)512 * 1024)	/* Lua calling C calling Lua to Lua's limit takes 430 KB */
#endif

#define STACK_GUARD ((size_t)65536)		/* the lowest part of each: wide, so that no frame steps over it; any page size fits */
#define STACK_SIZE (STACK_BYTES - STACK_GUARD)	/* what a fiber can use */

struct stack_pool {
	char **free;		/* lowest usable address of each */
	uint32_t n, cap;
	void **slabs;
	uint32_t nslabs, slabs_cap;
	uint32_t in_use, peak;
};

/* The lowest usable address of STACK_SIZE; NULL with a cause (naming vm.max_map_count when that is it). */
char *stack_get(struct stack_pool *p);
void stack_put(struct stack_pool *p, char *stack);
/* Gives the memory between the lowest address and SP back to the kernel. */
void stack_trim(char *stack, const char *sp);
void stack_pool_fini(struct stack_pool *p);
