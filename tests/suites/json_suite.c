/* SPDX-License-Identifier: Apache-2.0 */
/* JSON against nst/JSONTestSuite: y_ must be accepted, n_ refused, i_ either. */
#include "codec/val.h"
#include "suite.h"

static int run_file(const char *folder, const char *name)
{
	char path[8192];
	struct slice text;
	struct val v;
	snprintf(path, sizeof path, "%s/%s", folder, name);
	if (!suite_read(path, &text))
		return 1;
	struct arena *a = arena_create();
	int rc = json_parse(text, a, &v);
	arena_destroy(&a);
	suite_free(text);
	bool wrong = (name[0] == 'y' && rc < 0) || (name[0] == 'n' && rc == 0);
	if (wrong)
		printf("%s: %s\n", name, rc < 0 ? err_text() : "accepted");
	return wrong;
}

int main(int argc, char **argv)
{
	const char *folder = suite_folder(argc, argv, "json-nst/test_parsing");
	int files = 0, wrong = 0;
	if (folder == NULL)
		return SUITE_SKIP;
	DIR *d = opendir(folder);
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.') {
			files++;
			wrong += run_file(folder, e->d_name);
		}
	if (d != NULL)
		closedir(d);
	printf("%d files, %d wrong\n", files, wrong);
	return wrong > 0 || files < 300;
}
