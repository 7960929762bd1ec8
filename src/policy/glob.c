/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/glob.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "base/buf.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "rt/offload.h"

#define EXPANSIONS_MAX 1024	/* of braces */
#define DEPTH_MAX 64
#define PATHS_MAX 1000000

void glob_list_fini(struct glob_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->paths[i]);
	free(l->paths);
	*l = (struct glob_list){ 0 };
}

void glob_list_put(struct glob_list *l, const char *path, size_t len)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 16;
		l->paths = xreallocarray(l->paths, l->cap, sizeof *l->paths);
	}
	l->paths[l->n++] = xmemdup0(path, len);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void glob_list_sort(struct glob_list *l)
{
	if (l->n < 2)
		return;
	qsort(l->paths, l->n, sizeof *l->paths, by_text);
	size_t n = 1;
	for (size_t i = 1; i < l->n; i++) {
		if (strcmp(l->paths[n - 1], l->paths[i]) == 0)
			free(l->paths[i]);
		else
			l->paths[n++] = l->paths[i];
	}
	l->n = n;
}

/* --- patterns ------------------------------------------------------------------------------------------------------- */

/* Writes PATTERN to OUT once for each way through its first braces, and so on for what follows. */
static int expand(struct slice pattern, struct glob_list *out)
{
	ptrdiff_t open = slice_chr(pattern, '{');
	size_t close = 0;
	int depth = 0;
	for (size_t i = open < 0 ? pattern.len : (size_t)open; i < pattern.len && !close; i++) {
		if (pattern.ptr[i] == '{')
			depth++;
		else if (pattern.ptr[i] == '}' && --depth == 0)
			close = i;
	}
	if (out->n >= EXPANSIONS_MAX)
		return err_set(E_LIMIT, "the pattern %.*s has too many alternatives", SLICE_ARG(pattern));
	if (!close) {
		glob_list_put(out, pattern.ptr, pattern.len);
		return 0;
	}
	size_t from = (size_t)open + 1;
	depth = 0;
	for (size_t i = from; i <= close; i++) {
		char c = pattern.ptr[i];
		if (i == close || (c == ',' && depth == 0)) {
			struct buf b = { 0 };
			buf_put(&b, pattern.ptr, (size_t)open);
			buf_put(&b, pattern.ptr + from, i - from);
			buf_put(&b, pattern.ptr + close + 1, pattern.len - close - 1);
			int rc = expand(buf_view(&b), out);
			buf_fini(&b);
			if (rc < 0)
				return rc;
			from = i + 1;
		} else if (c == '{') {
			depth++;
		} else if (c == '}') {
			depth--;
		}
	}
	return 0;
}

/* "[a-z]" at the start of P against C: 1, 0, or -1 when it is no set; *LEN is the set's length. */
static int match_set(struct slice p, char c, size_t *len)
{
	size_t i = 1;
	bool negated = i < p.len && (p.ptr[i] == '!' || p.ptr[i] == '^'), found = false;
	if (negated)
		i++;
	for (size_t first = i; i < p.len && (p.ptr[i] != ']' || i == first); i++) {
		unsigned char lo = (unsigned char)p.ptr[i], hi = lo;
		if (i + 2 < p.len && p.ptr[i + 1] == '-' && p.ptr[i + 2] != ']') {
			hi = (unsigned char)p.ptr[i + 2];
			i += 2;
		}
		found |= (unsigned char)c >= lo && (unsigned char)c <= hi;
	}
	if (i >= p.len)
		return -1;
	*len = i + 1;
	return found != negated;
}

/* One name against one component. Linear in the product: the last star is the only one that needs to be tried again. */
static bool match_name(struct slice p, struct slice s)
{
	size_t i = 0, j = 0, star = SIZE_MAX, star_j = 0;
	if (s.len && s.ptr[0] == '.' && !(p.len && p.ptr[0] == '.'))
		return false;
	while (j < s.len) {
		size_t len = 1;
		uint32_t cp;
		int hit = 0;
		if (i < p.len && p.ptr[i] == '*') {
			star = i++;
			star_j = j;
			continue;
		}
		size_t step = 1;
		if (i < p.len && p.ptr[i] == '?') {
			hit = 1;
			step = MAX(utf8_decode(slice_sub(s, j, SIZE_MAX), &cp), (size_t)1);
		} else if (i < p.len && p.ptr[i] == '[' && (hit = match_set(slice_sub(p, i, SIZE_MAX), s.ptr[j], &len)) >= 0) {
			;
		} else {
			hit = i < p.len && p.ptr[i] == s.ptr[j];
		}
		if (hit > 0) {
			i += len;
			j += step;
		} else if (star != SIZE_MAX) {
			i = star + 1;
			j = ++star_j;
		} else {
			return false;
		}
	}
	while (i < p.len && p.ptr[i] == '*')
		i++;
	return i == p.len;
}

static bool next_component(struct slice *rest, struct slice *comp)
{
	while (slice_split_next(rest, '/', comp))
		if (comp->len && !slice_eq(*comp, SLICE(".")))
			return true;
	return false;
}

static bool match_path(struct slice p, struct slice s)
{
	struct slice pc, sc, s_rest;
	for (;;) {
		if (!next_component(&p, &pc))
			return !next_component(&s, &sc);
		if (slice_eq(pc, SLICE("**"))) {
			do
				if (match_path(p, s))
					return true;
			while (next_component(&s, &sc));
			return false;
		}
		s_rest = s;
		if (!next_component(&s_rest, &sc) || !match_name(pc, sc))
			return false;
		s = s_rest;
	}
}

bool glob_match(struct slice pattern, struct slice path)
{
	struct glob_list all = { 0 };
	bool found = false;
	if (expand(pattern, &all) == 0)
		for (size_t i = 0; i < all.n && !found; i++)
			found = match_path(slice_from_cstr(all.paths[i]), path);
	glob_list_fini(&all);
	return found;
}

/* --- walking -------------------------------------------------------------------------------------------------------- */

struct walk {
	struct buf path;		/* where we are, as it will be in the result */
	struct slice root;		/* put in front of relative paths to open them */
	struct glob_list *out;
	int rc;
};

static const char *full_path(struct walk *w, struct buf *b)
{
	buf_clear(b);
	if (!(w->path.len && w->path.ptr[0] == '/')) {
		buf_slice(b, w->root);
		buf_putc(b, '/');
	}
	buf_slice(b, buf_view(&w->path));
	return buf_cstr(b);
}

static void found(struct walk *w)
{
	if (!utf8_valid(buf_view(&w->path)))
		w->rc = err_set(E_INVAL, "path entry %s is not representable as utf8", buf_cstr(&w->path));
	else if (w->out->n >= PATHS_MAX)
		w->rc = err_set(E_LIMIT, "more than %d files match", PATHS_MAX);
	else
		glob_list_put(w->out, w->path.ptr, w->path.len);
}

static bool is_dir(struct walk *w)
{
	struct buf b = { 0 };
	struct stat st;
	bool yes = lstat(full_path(w, &b), &st) == 0 && S_ISDIR(st.st_mode);
	buf_fini(&b);
	return yes;
}

static bool exists(struct walk *w)
{
	struct buf b = { 0 };
	struct stat st;
	bool yes = lstat(full_path(w, &b), &st) == 0;
	buf_fini(&b);
	return yes;
}

static void walk(struct walk *w, struct slice pattern, int depth);

/* Every entry of the folder we are in: those that match COMP (all, when it is "**") go on with REST. */
static void walk_entries(struct walk *w, struct slice comp, struct slice rest, int depth)
{
	bool recursive = slice_eq(comp, SLICE("**"));
	struct slice probe = rest, next;
	bool last = !next_component(&probe, &next);
	struct buf b = { 0 };
	DIR *d = opendir(full_path(w, &b));
	buf_fini(&b);
	if (!d)
		return;
	size_t keep = w->path.len;
	for (struct dirent *e; w->rc == 0 && (e = readdir(d)) != NULL; buf_truncate(&w->path, keep)) {
		struct slice name = slice_from_cstr(e->d_name);
		if (slice_eq(name, SLICE(".")) || slice_eq(name, SLICE("..")) || (!recursive && !match_name(comp, name)))
			continue;
		if (keep && w->path.ptr[keep - 1] != '/')
			buf_putc(&w->path, '/');
		buf_slice(&w->path, name);
		if (last)
			found(w);
		else if (!recursive)
			walk(w, rest, depth + 1);
		else if (is_dir(w))
			walk_entries(w, comp, rest, depth + 1);
	}
	closedir(d);
	if (recursive && w->rc == 0 && depth < DEPTH_MAX) {
		if (!last)
			walk(w, rest, depth + 1);	/* zero folders more */
		else if (keep && w->path.ptr[keep - 1] != '/')
			found(w);
	}
}

static bool is_literal(struct slice s)
{
	return slice_chr(s, '*') < 0 && slice_chr(s, '?') < 0 && slice_chr(s, '[') < 0;
}

static void walk(struct walk *w, struct slice pattern, int depth)
{
	struct slice comp;
	if (depth > DEPTH_MAX)
		return;
	if (!next_component(&pattern, &comp)) {
		if (exists(w))
			found(w);
		return;
	}
	if (!is_literal(comp)) {
		walk_entries(w, comp, pattern, depth);
		return;
	}
	size_t keep = w->path.len;
	if (keep && w->path.ptr[keep - 1] != '/')
		buf_putc(&w->path, '/');
	buf_slice(&w->path, comp);
	walk(w, pattern, depth + 1);
	buf_truncate(&w->path, keep);
}

struct job {
	struct slice pattern, root;
	struct glob_list *out;
	int rc;
	char why[512];
};

static void eval(void *arg)
{
	struct job *j = arg;
	struct glob_list all = { 0 };
	j->rc = expand(j->pattern, &all);
	for (size_t i = 0; i < all.n && j->rc == 0; i++) {
		struct walk w = { .root = j->root, .out = j->out };
		if (all.paths[i][0] == '/')
			buf_putc(&w.path, '/');
		walk(&w, slice_from_cstr(all.paths[i]), 0);
		buf_fini(&w.path);
		j->rc = w.rc;
	}
	glob_list_fini(&all);
	if (j->rc < 0)
		snprintf(j->why, sizeof j->why, "%s", err_text());
}

int glob_eval(struct slice pattern, struct slice root, struct glob_list *out)
{
	struct job j = { pattern, root.len ? root : SLICE("."), out, 0, "" };
	rt_offload(eval, &j);
	if (j.rc < 0)
		return err_set((enum err_code)-j.rc, "%s", j.why);
	glob_list_sort(out);
	return 0;
}
