/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay - runs a fuzz target over the files of its corpus, as an ordinary test.
 *
 * Usage: NAME_fuzz FOLDER-OR-FILE...   (a missing folder counts as empty)
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (f == NULL)
		return 0;
	size_t cap = 1 << 20, len = 0, n;
	uint8_t *data = malloc(cap);
	if (data == NULL)
		abort();
	while ((n = fread(data + len, 1, cap - len, f)) > 0)
		if ((len += n) == cap && (data = realloc(data, cap *= 2)) == NULL)
			abort();
	fclose(f);
	/* exactly sized, so that a sanitizer sees a read past the end */
	uint8_t *exact = malloc(len ? len : 1);
	if (exact == NULL)
		abort();
	memcpy(exact, data, len);
	free(data);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	return 1;
}

static int replay_path(const char *path)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return replay_file(path);
	DIR *d = opendir(path);
	int n = 0;
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
		char sub[4096];
		if (e->d_name[0] == '.')
			continue;
		snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
		n += replay_path(sub);
	}
	if (d != NULL)
		closedir(d);
	return n;
}

int main(int argc, char **argv)
{
	int n = 0;
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++)
		n += replay_path(argv[i]);
	printf("%d inputs replayed\n", n);
	return 0;
}
