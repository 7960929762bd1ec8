/* SPDX-License-Identifier: Apache-2.0 */
/* openapi - the OpenAPI document that follows from the tables of endpoints and of shapes. Thread: any. Memory: the caller's buffer. Yields: never. */
#pragma once
#include "api/api.h"

struct api_schema {
	const char *name, *shape;	/* the notation: schemas.c */
};
extern const struct api_schema API_SCHEMAS[];	/* ends with a NULL name */
