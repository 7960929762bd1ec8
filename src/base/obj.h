/* SPDX-License-Identifier: Apache-2.0 */
/*
 * obj - a magic number first in each long-lived struct, checked at every entry, so that a stale pointer stops
 * the program where it is used and not three functions later. Asserts stay in production.
 */
#pragma once
#include <assert.h>
#include <stdint.h>

#define OBJ_MAGIC(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))
#define OBJ_INIT(obj, m) ((obj)->magic = (m))
#define OBJ_CHECK(obj, m) assert((obj) != NULL && (obj)->magic == (m))
#define OBJ_FINI(obj, m) (OBJ_CHECK(obj, m), (obj)->magic = ~(uint32_t)(m))

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ({ __typeof__(a) min_a_ = (a); __typeof__(b) min_b_ = (b); min_a_ < min_b_ ? min_a_ : min_b_; })
#define MAX(a, b) ({ __typeof__(a) max_a_ = (a); __typeof__(b) max_b_ = (b); max_a_ > max_b_ ? max_a_ : max_b_; })
#define WARN_UNUSED __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
