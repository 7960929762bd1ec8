/* SPDX-License-Identifier: Apache-2.0 */
/*
 * val - a dynamic value: what JSON, TOML, YAML and Lua tables have in common.
 *
 * The one bridge between them: every parser makes vals, every printer takes them, policy/convert turns them into Lua and back, and
 * codec/opt turns them into option structs. A tree of our own rather than jansson's, because integers must reach u64, floats must print as
 * upstream's do (shortest form, "1.0"), objects must come out key-sorted, NULs are legal in strings, and a tree lives in one arena.
 *
 * Objects keep insertion order; printers sort when asked. Keys are unique: a later put replaces. Large objects have a hash index:
 * read members as you like, but change or reorder them only through the functions here.
 *
 * Thread:  a tree is immutable once built and may then be read by any thread; building has one owner.
 * Memory:  everything is in the arena given at creation. A `struct vdoc` is a reference-counted tree with an arena of its own.
 * Yields:  never.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum val_type { VAL_NULL, VAL_BOOL, VAL_INT, VAL_UINT /* only above INT64_MAX */, VAL_FLOAT, VAL_STR, VAL_LIST, VAL_OBJ, VAL_TIME /* TOML date-time, text as written */ };

struct val_member;
struct val {
	enum val_type type;
	uint32_t n, cap;		/* members or items */
	bool plain_key;			/* of a member whose key was a number or boolean: YAML does not quote it */
	bool given_twice;		/* of a member that JSON or a query gave more than once; this is the last of them */
	union {
		bool b;
		int64_t i;
		uint64_t u;
		double f;
		struct slice s;		/* VAL_STR, VAL_TIME; NUL behind */
		struct val *items;	/* VAL_LIST */
		struct val_member *members; /* VAL_OBJ */
	};
};
struct val_member {
	struct slice key;
	struct val val;
};

/* Building. Strings and keys are copied into the arena. The pointers returned stay valid until the next put/push into the same parent. */
static inline struct val val_null(void) { return (struct val){ .type = VAL_NULL }; }
static inline struct val val_bool(bool b) { return (struct val){ .type = VAL_BOOL, .b = b }; }
static inline struct val val_int(int64_t i) { return (struct val){ .type = VAL_INT, .i = i }; }
struct val val_uint(uint64_t u);					/* VAL_INT where it fits */
static inline struct val val_float(double f) { return (struct val){ .type = VAL_FLOAT, .f = f }; }
struct val val_str(struct arena *a, struct slice s);
struct val val_cstr(struct arena *a, const char *s);
static inline struct val val_list(void) { return (struct val){ .type = VAL_LIST }; }
static inline struct val val_obj(void) { return (struct val){ .type = VAL_OBJ }; }
struct val *val_push(struct arena *a, struct val *list, struct val item);
struct val *val_put(struct arena *a, struct val *obj, struct slice key, struct val item);
#define val_put_lit(a, obj, key, item) val_put((a), (obj), SLICE(key), (item))
bool val_remove(struct val *obj, struct slice key);
struct val val_copy(struct arena *a, const struct val *v);		/* deep */
void val_sort(struct val *v);						/* keys bytewise, recursively, in place */

/* Reading. NULL where there is no such member, or V is no object. */
const struct val *val_get(const struct val *v, struct slice key);
#define val_get_lit(v, key) val_get((v), SLICE(key))
struct slice val_get_str(const struct val *v, struct slice key);	/* SLICE_NONE when missing or no string */
bool val_eq(const struct val *a, const struct val *b);			/* object order ignored; 1 and 1.0 differ */
const char *val_type_name(enum val_type t);				/* "null" "bool" "integer" "float" "string" "list" "table" "datetime" */

/* Text. JSON per RFC 8259: strict, depth limit 128, duplicate keys: the last wins. */
enum json_flags { JSON_COMPACT = 0, JSON_PRETTY = 1 /* two blanks, "key": value */, JSON_SORTED = 2 };
int json_parse(struct slice text, struct arena *a, struct val *out) WARN_UNUSED;	/* error: "… at line L column C" */
void json_put(struct buf *b, const struct val *v, int flags);	/* a VAL_STR that is no UTF-8 becomes a list of its bytes */
void json_put_string(struct buf *b, struct slice s);			/* with quotes; invalid UTF-8 becomes U+FFFD */
void json_put_float(struct buf *b, double f);				/* shortest that reads back; 1 is 1.0; NaN and infinities null */
void json_put_key(struct buf *b, bool *first, struct slice key);	/* ,"key":  for writers that stream an object */

/*
 * TOML 1.1. NAME (a file name) is what errors begin with: "NAME:12: …"; NULL: they show the line and point at the place, on several lines.
 * Printing keeps the order within a table, tables behind values (val_sort() first for another). Nulls in tables are left out.
 */
enum toml_flags { TOML_PLAIN = 0, TOML_PRETTY = 1 /* lists of several items over several lines */, TOML_INLINE_EMPTY = 2 /* an empty table as "x = {}" */ };
int toml_parse(struct slice text, const char *name, struct arena *a, struct val *out) WARN_UNUSED;
int toml_put(struct buf *b, const struct val *v, int flags) WARN_UNUSED;	/* -E_INVAL: a null in a list, above INT64_MAX, top level no table */
int yaml_parse(struct slice text, const char *name, struct arena *a, struct val *out) WARN_UNUSED;
void yaml_put(struct buf *b, const struct val *v);

/* A reference-counted, immutable document: what caches, memoize and configuration snapshots share between threads. */
struct vdoc {
	uint32_t magic;
	_Atomic uint32_t refs;
	struct arena *arena;
	struct val root;
};
struct vdoc *vdoc_create(void);				/* refs 1, root null: fill root, then share */
struct vdoc *vdoc_copy_of(const struct val *v);
struct vdoc *vdoc_ref(struct vdoc *d);
void vdoc_unref(struct vdoc **d);
