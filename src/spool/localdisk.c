/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LocalDisk as a store: PATH/data/aa/bb/cc/dd/REST, a file for each id. A file is made in PATH/new and renamed into place, so that nobody ever
 * sees half of one. PATH/lock is held (flock) and names the owner.
 *
 * The first bytes of an id change every 100 ns, so nearly each file has two folders of its own. They are taken away with the file, and
 * kept in PATH/new for the next one: making and deleting folders is what this kind costs most (ext4 looks for an inode that was not
 * deleted of late). Files are not kept: after a loss of power one could show what it held before.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/xalloc.h"
#include "rt/diag.h"
#include "spool/store.h"

#define NAME_LEN 36	/* aa/bb/cc/dd/ and 24 digits */
#define LEVEL_2 5	/* length of aa/bb */
#define LEVEL_3 8
#define LEVEL_4 11
#define FILE_MAX (INT64_C(1) << 31)	/* of a message; what is larger is damage */
#define SPARE_MAX 512

struct local {
	struct store store;
	int lock_fd, data_fd, new_fd;
	/* owned by the writer */
	unsigned n_spare;	/* empty folders new/d0, new/d1, … */
};

static void name_of(struct uuid id, char out[NAME_LEN + 1])
{
	static const char HEX[] = "0123456789abcdef";
	char *p = out;
	for (int i = 0; i < 16; i++) {
		*p++ = HEX[id.bytes[i] >> 4];
		*p++ = HEX[id.bytes[i] & 15];
		if (i < 4)
			*p++ = '/';
	}
	*p = '\0';
}

/* Of the file while it is in new/: all digits, since the last 24 are the same for every id that a process makes in seven minutes. */
static void new_name_of(struct uuid id, char out[NAME_LEN + 1])
{
	name_of(id, out);
	for (int i = 0; i < 4; i++)
		out[3 * i + 2] = '-';
}

static int take_lock(struct local *l)
{
	char *path = xasprintf("%s/lock", l->store.path);
	int rc = 0;
	l->lock_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	if (l->lock_fd < 0) {
		rc = err_errno(E_IO, "opening pid file %s", path);
	} else if (flock(l->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		const char *why = strerror(errno);
		char pid[32] = "";
		ssize_t n = pread(l->lock_fd, pid, sizeof pid - 1, 0);
		struct slice owner = slice_trim(slice_new(pid, n > 0 ? (size_t)n : 0));
		rc = err_set(E_EXIST, "unable to lock pid file %s: %s. Owned by pid %.*s.", path, why, SLICE_ARG(owner));
	} else {
		fchmod(l->lock_fd, 0644 | S_ISVTX);	/* tmpwatch leaves sticky files alone */
		if (ftruncate(l->lock_fd, 0) != 0 || dprintf(l->lock_fd, "%d\n", (int)getpid()) < 0)
			diag_warn("kumo.spool", "%s: cannot write the pid: %s", path, strerror(errno));
	}
	free(path);
	return rc;
}

static int open_folder(struct local *l, const char *name, int *fd)
{
	char *path = xasprintf("%s/%s", l->store.path, name);
	int rc = store_mkdirs(path);
	if (rc == 0 && (*fd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC)) < 0)
		rc = err_errno(E_IO, "opening %s", path);
	free(path);
	return rc;
}

static char *spare_name(unsigned n, char out[16])
{
	snprintf(out, 16, "d%u", n);
	return out;
}

/* Makes the folder NAME below data/, from a spare one where there is one. 0: it is there; -1 and errno. */
static int get_folder(struct local *l, const char *name)
{
	char spare[16];
	if (l->n_spare == 0)
		return mkdirat(l->data_fd, name, 0755) == 0 || errno == EEXIST ? 0 : -1;
	if (renameat(l->new_fd, spare_name(l->n_spare - 1, spare), l->data_fd, name) == 0) {
		l->n_spare--;
		return 0;
	}
	if (errno == EEXIST || errno == ENOTEMPTY)
		return 0;
	if (errno == ENOENT && faccessat(l->new_fd, spare, F_OK, 0) != 0) {	/* somebody tidied up */
		l->n_spare = 0;
		return mkdirat(l->data_fd, name, 0755) == 0 || errno == EEXIST ? 0 : -1;
	}
	return -1;
}

static bool is_empty(struct local *l, const char *name)
{
	char entries[512];
	int fd = openat(l->data_fd, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool empty = true;
	ssize_t n = getdents64(fd, entries, sizeof entries);
	for (ssize_t at = 0; at < n;) {
		const struct dirent64 *e = (const struct dirent64 *)(entries + at);
		empty &= strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
		at += e->d_reclen;
	}
	close(fd);
	return empty && n > 0;
}

/* Takes the folder NAME below data/ away if it is empty; false: it is still there. */
static bool drop_folder(struct local *l, const char *name)
{
	char spare[16];
	if (l->n_spare >= SPARE_MAX)
		return unlinkat(l->data_fd, name, AT_REMOVEDIR) == 0;
	if (!is_empty(l, name) || renameat(l->data_fd, name, l->new_fd, spare_name(l->n_spare, spare)) != 0)
		return false;
	l->n_spare++;
	return true;
}

static void local_close(struct store *s)
{
	struct local *l = (struct local *)s;
	char spare[16];
	while (l->n_spare > 0)
		unlinkat(l->new_fd, spare_name(--l->n_spare, spare), AT_REMOVEDIR);
	int fds[] = { l->new_fd, l->data_fd, l->lock_fd };
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	store_fini(s);
	free(l);
}

/* What a crash left in new/: files that were never acknowledged, spare folders. */
static void clear_new(struct local *l)
{
	DIR *d = fdopendir(dup(l->new_fd));
	if (d == NULL)
		return;
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.' && unlinkat(l->new_fd, e->d_name, 0) != 0)
			unlinkat(l->new_fd, e->d_name, AT_REMOVEDIR);
	closedir(d);
}

static int local_open(const struct spool_opts *o, struct store **out)
{
	struct local *l = xzalloc(sizeof *l);
	store_init(&l->store, &STORE_LOCAL_DISK, o);
	l->lock_fd = l->data_fd = l->new_fd = -1;
	int rc = store_mkdirs(l->store.path);
	if (rc == 0)
		rc = take_lock(l);
	if (rc == 0)
		rc = open_folder(l, "new", &l->new_fd);
	if (rc == 0)
		rc = open_folder(l, "data", &l->data_fd);
	if (rc == 0)
		rc = store_probe(l->store.path);
	if (rc < 0) {
		local_close(&l->store);
		return rc;
	}
	clear_new(l);
	*out = &l->store;
	return 0;
}

static int write_all(int fd, struct slice data)
{
	while (data.len > 0) {
		ssize_t n = write(fd, data.ptr, data.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		data = slice_sub(data, (size_t)n, SIZE_MAX);
	}
	return 0;
}

/* Writes new/ID; the descriptor stays open in *FD for SYNC. */
static int write_new(struct local *l, struct store_write *w, bool sync, int *fd)
{
	char name[NAME_LEN + 1];
	new_name_of(w->id, name);
	*fd = openat(l->new_fd, name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (*fd < 0)
		return err_errno(E_IO, "failed to create a temporary file to store a message in %s/new", l->store.path);
	if (write_all(*fd, w->data) != 0) {
		int rc = err_errno(E_IO, "failed to write data in %s/new", l->store.path);
		close(*fd);
		*fd = -1;
		unlinkat(l->new_fd, name, 0);
		return rc;
	}
	if (sync) {	/* begins now, so that the waits further down overlap */
		sync_file_range(*fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	} else {
		close(*fd);
		*fd = -1;
	}
	return 0;
}

static int make_parents(struct local *l, const char *name)
{
	char part[NAME_LEN + 1];
	memcpy(part, name, sizeof part);
	part[LEVEL_3] = '\0';
	int rc = get_folder(l, part);
	if (rc != 0 && errno == ENOENT) {	/* the upper levels are seldom missing */
		part[2] = '\0';
		rc = mkdirat(l->data_fd, part, 0755) == 0 || errno == EEXIST ? 0 : -1;
		part[2] = '/';
		part[LEVEL_2] = '\0';
		if (rc == 0)
			rc = get_folder(l, part);
		part[LEVEL_2] = '/';
		if (rc == 0)
			rc = get_folder(l, part);
	}
	part[LEVEL_3] = '/';
	part[LEVEL_4] = '\0';
	if (rc == 0)
		rc = get_folder(l, part);
	return rc == 0 ? 0 : err_errno(E_IO, "failed to create dir structure for %s/data/%s", l->store.path, name);
}

static int into_place(struct local *l, const struct store_write *w)
{
	char name[NAME_LEN + 1], new_name[NAME_LEN + 1];
	name_of(w->id, name);
	new_name_of(w->id, new_name);
	if (renameat(l->new_fd, new_name, l->data_fd, name) == 0)
		return 0;
	int rc = errno == ENOENT ? make_parents(l, name) : 0;
	if (rc == 0 && renameat(l->new_fd, new_name, l->data_fd, name) != 0)
		rc = err_errno(E_IO, "failed to move temp file to %s/data/%s", l->store.path, name);
	if (rc < 0)
		unlinkat(l->new_fd, new_name, 0);
	return rc;
}

static int sync_folder_of(struct local *l, const struct store_write *w)
{
	char name[NAME_LEN + 1];
	name_of(w->id, name);
	/* the folder with the file, and those above it, which may be new as well */
	for (int len = LEVEL_4; len >= 2; len -= 3) {
		name[len] = '\0';
		int fd = openat(l->data_fd, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
		int rc = fd < 0 || fsync(fd) != 0 ? err_errno(E_IO, "failed to sync %s/data/%s", l->store.path, name) : 0;
		if (fd >= 0)
			close(fd);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int delete_one(struct local *l, struct uuid id)
{
	char name[NAME_LEN + 1];
	name_of(id, name);
	if (unlinkat(l->data_fd, name, 0) != 0)
		return errno == ENOENT ? 0 : err_errno(E_IO, "failed to remove %s/data/%s", l->store.path, name);
	static const int LEVELS[] = { LEVEL_4, LEVEL_3, LEVEL_2 };
	for (size_t i = 0; i < ARRAY_LEN(LEVELS); i++) {
		name[LEVELS[i]] = '\0';
		if (!drop_folder(l, name))
			break;
	}
	return 0;
}

/* In three passes when it must be durable: data of all files, then all names, then all folders; the journal commits once for many. */
static int local_write(struct store *s, struct store_write *w, size_t n, bool sync)
{
	struct local *l = (struct local *)s;
	int *fds = xcalloc(n ? n : 1, sizeof *fds), worst = 0;
	for (size_t i = 0; i < n; i++) {
		fds[i] = -1;
		w[i].rc = w[i].data.ptr ? write_new(l, &w[i], sync, &fds[i]) : delete_one(l, w[i].id);
		if (w[i].data.ptr && w[i].rc == 0 && !sync)
			w[i].rc = into_place(l, &w[i]);
	}
	for (size_t i = 0; sync && i < n; i++) {
		if (fds[i] < 0)
			continue;
		if (fdatasync(fds[i]) != 0)
			w[i].rc = err_errno(E_IO, "failed to sync data in %s/new", s->path);
		close(fds[i]);
		if (w[i].rc == 0)
			w[i].rc = into_place(l, &w[i]);
	}
	for (size_t i = 0; i < n; i++) {
		if (sync && w[i].data.ptr && w[i].rc == 0)
			w[i].rc = sync_folder_of(l, &w[i]);
		if (w[i].rc < 0)
			worst = w[i].rc;
	}
	free(fds);
	return worst;
}

static int read_file(struct local *l, const char *name, char **data, size_t *len)
{
	int fd = openat(l->data_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);	/* a pipe must not keep us */
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0) {
		int rc = err_errno(E_IO, "failed to load %s/data/%s", l->store.path, name);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
		close(fd);
		return err_set(E_IO, "failed to load %s/data/%s: it is %s", l->store.path, name, S_ISREG(st.st_mode) ? "too large for a message" : "no file");
	}
	size_t size = (size_t)st.st_size, got = 0;
	char *text = xmalloc(size + 1);
	ssize_t n = 1;
	while (got < size && ((n = read(fd, text + got, size - got)) > 0 || (n < 0 && errno == EINTR)))
		got += n > 0 ? (size_t)n : 0;
	int rc = n < 0 ? err_errno(E_IO, "failed to load %s/data/%s", l->store.path, name) : 0;
	close(fd);
	if (rc < 0) {
		free(text);
		return rc;
	}
	text[got] = '\0';
	*data = text;
	*len = got;
	return 0;
}

static int local_get(struct store *s, struct uuid id, char **data, size_t *len)
{
	char name[NAME_LEN + 1];
	name_of(id, name);
	return read_file((struct local *)s, name, data, len);
}

/* --- walking: all names first (16 bytes each), then the files in the order of their ids */

struct local_walk {
	struct local *l;
	bool values;
	struct uuid *ids;
	size_t n, cap, pos;
	char *value, *why;
	int rc;
};

static bool is_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!ascii_is_digit(s[i]) && !(s[i] >= 'a' && s[i] <= 'f'))
			return false;
	return s[n] == '\0';
}

static void add_id(struct local_walk *w, const char *hex)
{
	if (w->n == w->cap)
		w->ids = xreallocarray(w->ids, w->cap = w->cap ? 2 * w->cap : 1024, sizeof *w->ids);
	if (uuid_parse(slice_new(hex, 32), &w->ids[w->n]) == 0)
		w->n++;
}

/* HEX holds the digits of the folders above; takes the descriptor over. A folder that is taken away and used elsewhere meanwhile gives names
   that do not exist: whoever asks for them learns so. */
static void collect(struct local_walk *w, int dir_fd, char hex[33], int depth)
{
	if (dir_fd < 0 && errno == ENOENT && depth > 0)
		return;		/* its last message ended just now */
	if (dir_fd < 0 && errno == ENOTDIR && depth > 0) {
		diag_warn("kumo.spool", "%s: %.*s in the spool is no folder", w->l->store.path, 2 * depth, hex);
		return;
	}
	DIR *d = dir_fd >= 0 ? fdopendir(dir_fd) : NULL;
	if (d == NULL) {
		w->rc = err_errno(E_IO, "%s: cannot read a folder of the spool", w->l->store.path);
		free(w->why);
		w->why = xstrdup(err_text());	/* for the end of the walk, in another job */
		if (dir_fd >= 0)
			close(dir_fd);
		return;
	}
	size_t have = 2 * (size_t)depth, want = depth < 4 ? 2 : 24;
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		if (strlen(e->d_name) != want || !is_hex(e->d_name, want)) {
			diag_warn("kumo.spool", "%s: %s in the spool is not a message", w->l->store.path, e->d_name);
			continue;
		}
		memcpy(hex + have, e->d_name, want);
		if (depth == 4)
			add_id(w, hex);
		else
			collect(w, openat(dirfd(d), e->d_name, O_DIRECTORY | O_RDONLY | O_CLOEXEC), hex, depth + 1);
	}
	closedir(d);
}

static int compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct uuid));
}

static int local_walk_begin(struct store *s, bool values, const struct uuid *after, struct store_walk **out)
{
	struct local_walk *w = xzalloc(sizeof *w);
	char hex[33];
	w->l = (struct local *)s;
	w->values = values;
	collect(w, openat(w->l->data_fd, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC), hex, 0);
	if (w->n > 0)
		qsort(w->ids, w->n, sizeof *w->ids, compare_ids);
	while (after != NULL && w->pos < w->n && compare_ids(&w->ids[w->pos], after) <= 0)
		w->pos++;
	*out = (struct store_walk *)w;
	return 0;
}

static bool local_walk_next(struct store_walk *sw, struct uuid *id, struct slice *value)
{
	struct local_walk *w = (struct local_walk *)sw;
	free(w->value);
	w->value = NULL;
	for (; w->pos < w->n; w->pos++) {
		*id = w->ids[w->pos];
		*value = SLICE("");
		if (w->values) {
			char name[NAME_LEN + 1];
			name_of(*id, name);
			int rc = read_file(w->l, name, &w->value, &value->len);
			if (rc == -E_NOENT)
				continue;	/* removed since */
			value->ptr = rc < 0 ? NULL : w->value;
		}
		w->pos++;
		return true;
	}
	return false;
}

static int local_walk_end(struct store_walk *sw)
{
	struct local_walk *w = (struct local_walk *)sw;
	int rc = w->rc < 0 ? err_set((enum err_code)-w->rc, "%s", w->why) : 0;
	free(w->value);
	free(w->why);
	free(w->ids);
	free(w);
	return rc;
}

static int local_compact(struct store *s)
{
	return 0;
}

static int64_t local_shrink(struct store *s)
{
	return 0;
}

const struct store_kind STORE_LOCAL_DISK = {
	.open = local_open,
	.close = local_close,
	.write = local_write,
	.get = local_get,
	.walk_begin = local_walk_begin,
	.walk_next = local_walk_next,
	.walk_end = local_walk_end,
	.compact = local_compact,
	.shrink = local_shrink,
};
