/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a shaping file: the first says TOML or JSON. */
#include "shaping/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int any_params(const struct val *params)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct shaping_ops ops = { .check_params = any_params };
	struct shaping s = { .arena = arena_create(), .ops = &ops };
	struct slice text = slice_new(data + (size > 0), size - (size > 0));
	struct shaping_file file;
	struct val root;

	int rc = size && data[0] == '{' ? json_parse(slice_new(data, size), s.arena, &root) : toml_parse(text, "fuzz", s.arena, &root);
	if (rc == 0 && shaping_file_read(&s, &root, &file) == 0)
		for (size_t i = 0; i < file.n; i++)
			block_table_merge(s.arena, &s.domains, file.blocks[i].name, &file.blocks[i]);
	shaping_regexes_free(&s);
	block_table_fini(&s.domains);
	arena_destroy(&s.arena);
	return 0;
}
