/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "codec/template.h"

static const char CONTEXT[] = "{\"name\":\"Ann Smith\",\"n\":7,\"f\":2.75,\"list\":[3,1,2,1],\"m\":{\"b\":\"two\",\"a\":1},\"t\":true,\"no\":false,\"html\":\"<b>&'/\","
	"\"people\":[{\"n\":\"Ann\",\"age\":30},{\"n\":\"bob\",\"age\":25}],\"nothing\":null,\"uni\":\"\xc5\xbelu \xf0\x9f\x98\x80\"}";

static void render(enum template_dialect dialect, const char *name, struct slice source, struct buf *out)
{
	struct arena *a = arena_create();
	struct template *t = NULL;
	struct val context;
	assert_int_equal(json_parse(slice_from_cstr(CONTEXT), a, &context), 0);
	buf_clear(out);
	if (template_compile(dialect, slice_from_cstr(name), source, &t) < 0 || template_render(t, &context, out) < 0)
		buf_printf(out, "!%s", err_text());
	template_unref(&t);
	arena_destroy(&a);
}

static void check_all(enum template_dialect dialect, const char *const (*cases)[3], size_t n)
{
	struct buf out = { 0 };
	for (size_t i = 0; i < n; i++) {
		render(dialect, cases[i][0], slice_from_cstr(cases[i][1]), &out);
		assert_string_equal(buf_cstr(&out), cases[i][2]);
	}
	buf_fini(&out);
}

static void test_expressions(void **state)
{
	static const char *const cases[][3] = {
		{ "x", "{{ n + 1 }} {{ n / 2 }} {{ -n // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 8 / 2 }} {{ 1 / 0 }}", "8 3.5 -4 2 1024 4.0 inf" },
		{ "x", "{{ 9223372036854775807 + 1 }} {{ 1e21 }} {{ 0x1f + 0b1 }} {{ 1_000 }}", "9223372036854775808 1000000000000000000000.0 32 1000" },
		{ "x", "{{ m }} {{ list[1:] }} {{ list[-1] }} {{ name[::-1] }} {{ [1, \"a\", none, 1.0, true] }}",
			"{\"a\": 1, \"b\": \"two\"} [1, 2, 1] 1 htimS nnA [1, \"a\", none, 1.0, true]" },
		{ "x", "{{ missing }}|{{ missing or 'd' }}|{{ 1 if no }}|{{ 'a' ~ n }}|{{ 1 in list }}|{{ 9 not in list }}|{{ not t }}", "|d||a7|true|true|false" },
		{ "x", "{{ missing.x }}", "!undefined value (in x:1)" },
		{ "x", "a\n{{ 1 + 'a' }}", "!invalid operation: tried to use + operator on unsupported types number and string (in x:2)" },
		{ "x", "{{ nothing is none }} {{ n is odd }} {{ n is divisibleby 7 }} {{ n is not even }} {{ 'b' in m }}", "true true true true true" },
		{ "x", "{{ name.upper() }} {{ 'a,b'.split(',') }} {{ m.get('zz', 9) }} {{ '{:>5}|{a}'.format(1, a=2) }}", "ANN SMITH [\"a\", \"b\"] 9     1|2" },
		{ "x", "{{ name.nope() }}", "!unknown method: string has no method named nope (in x:1)" },
		{ "x", "{{ nope() }}", "!unknown function: nope is unknown (in x:1)" },
		{ "x", "{{ a b }}", "!syntax error: unexpected identifier, expected end of variable block (in x:1)" },
		{ "x", "\n\n{{ name", "!syntax error: unexpected end of input, expected end of variable block (in x:3)" },
		{ "x", "{{ \"a }}", "!syntax error: unexpected end of string (in x:1)" },
	};
	check_all(TEMPLATE_JINJA, cases, ARRAY_LEN(cases));
}

static void test_filters(void **state)
{
	static const char *const cases[][3] = {
		{ "x", "{{ list|sort|join(',') }} {{ list|unique|list }} {{ people|map(attribute='n')|join('/') }} {{ list|sum }}", "1,1,2,3 [3, 1, 2] Ann/bob 7" },
		{ "x", "{% for k, v in m|items %}{{ k }}={{ v }};{% endfor %}{{ m|tojson }} {{ html|tojson }}", "a=1;b=two;{\"a\":1,\"b\":\"two\"} \"\\u003cb\\u003e\\u0026\\u0027/\"" },
		{ "x", "{{ html|e }} {{ 1234567|filesizeformat }} {{ '%05.1f'|format(f) }} {{ name|truncate(length=5, leeway=0) }}", "&lt;b&gt;&amp;&#x27;&#x2f; 1.2 MB 002.8 An..." },
		{ "x", "{{ '2026-01-02T03:04:05Z'|datetimeformat }} {{ 1700000000|dateformat(format='[day]/[month]') }}", "Jan 2 2026 03:04 14/11" },
		{ "x", "{{ n|nope }}", "!unknown filter: filter nope is unknown (in x:1)" },
		{ "x", "{{ n|upper(1) }}", "!too many arguments (in x:1)" },
		{ "x", "{% for g in people|groupby('age') %}{{ g.grouper }}:{{ g.list|length }} {% endfor %}", "25:1 30:1 " },
		{ "x", "{{ uni|upper }} {{ uni|length }} {{ uni|reverse }}", "\xc5\xbdLU \xf0\x9f\x98\x80 5 \xf0\x9f\x98\x80 ul\xc5\xbe" },
	};
	check_all(TEMPLATE_JINJA, cases, ARRAY_LEN(cases));
}

static void test_statements(void **state)
{
	static const char *const cases[][3] = {
		{ "x", "{% for x in list if x > 1 %}{{ loop.index }}:{{ x }}{{ ',' if not loop.last }}{% else %}none{% endfor %}", "1:3,2:2" },
		{ "x", "{% for x in [] %}x{% else %}none{% endfor %}{% for x in list %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}", "none31" },
		{ "x", "{% set ns = namespace(i=0) %}{% for x in list %}{% set ns.i = ns.i + x %}{% endfor %}{{ ns.i }}", "7" },
		{ "x", "{% macro hi(a, b='d') %}{{ a }}-{{ b }}{% endmacro %}{{ hi(1) }} {{ hi(b=3, a=4) }}", "1-d 4-3" },
		{ "x", "{% macro hi(a) %}x{% endmacro %}{{ hi(z=2) }}", "!too many arguments: unknown keyword argument `z` (in x:1)" },
		{ "x", "{% macro box() %}<{{ caller() }}>{% endmacro %}{% call box() %}in{% endcall %}", "<in>" },
		{ "x", "a {%- if t -%} b {%- endif %} c {# x -#} d\n", "ab c d" },
		{ "x", "{% raw %}{{ not }}{% endraw %}{% set b | upper %}q{% endset %}{{ b }}{% with a = 1 %}{{ a }}{% endwith %}{{ a }}", "{{ not }}Q1" },
		{ "x", "{% extends 'other' %}", "!template not found: template \"other\" does not exist (in x:1)" },
		{ "x", "{% include 'other' ignore missing %}{% block b %}in{% endblock %}{{ self.b() }}", "inin" },
		{ "x", "{% for a, b in [[1, 2, 3]] %}{% endfor %}", "!cannot unpack: sequence of wrong length (expected 2, got 3) (in x:1)" },
		{ "x", "{% nosuch %}", "!syntax error: unknown statement nosuch (in x:1)" },
		{ "x", "{% if x %}", "!syntax error: unexpected end of input, expected end of block (in x:1)" },
		{ "a.html", "{{ html }}{{ html|safe }}{{ [html] }}{% autoescape false %}{{ html }}{% endautoescape %}",
			"&lt;b&gt;&amp;&#x27;&#x2f;<b>&'/[&quot;&lt;b&gt;&amp;&#x27;&#x2f;&quot;]<b>&'/" },
		{ "a.json", "{{ list }}{{ html }}{{ missing }}", "[3,1,2,1]\"<b>&'/\"null" },
	};
	check_all(TEMPLATE_JINJA, cases, ARRAY_LEN(cases));
}

/* Whoever writes templates must not be able to stop the house. */
static void test_bounds(void **state)
{
	static const char *const bombs[] = {
		"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% for x in range(100000) %}{% for y in range(100000) %}{% endfor %}{% endfor %}",
		"{% set ns = namespace(s='x') %}{% for x in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", "{{ 'x' * 999999999999 }}",
		"{{ [1] * 99999999 }}", "{{ range(99999999) }}", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
		"{% set ns = namespace(a=[1]) %}{% for x in range(30) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}",
	};
	struct buf out = { 0 }, deep = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(bombs); i++) {
		render(TEMPLATE_JINJA, "x", slice_from_cstr(bombs[i]), &out);
		assert_int_equal(buf_cstr(&out)[0], '!');
	}
	for (int i = 0; i < 50000; i++)
		buf_cstr_put(&deep, i == 0 ? "{{ " : "(");
	render(TEMPLATE_JINJA, "x", buf_view(&deep), &out);
	assert_string_equal(buf_cstr(&out), "!syntax error: template exceeds maximum recursion limits (in x:1)");
	buf_clear(&deep);
	for (int i = 0; i < 50000; i++)
		buf_lit(&deep, "{% if 1 %}");
	render(TEMPLATE_JINJA, "x", buf_view(&deep), &out);
	assert_string_equal(buf_cstr(&out), "!syntax error: template exceeds maximum recursion limits (in x:1)");
	buf_fini(&deep);
	buf_fini(&out);
}

static void test_handlebars(void **state)
{
	static const char *const cases[][3] = {
		{ "x", "{{name}} {{html}} {{m.b}} {{m/a}} {{list.[0]}} {{list}} {{m}} {{missing.deep}}|", "Ann Smith <b>&'/ two 1 3 [3, 1, 2, 1] [object] |" },
		{ "x.html", "{{html}}{{{html}}}{{&html}}", "&lt;b&gt;&amp;&#x27;/<b>&'/<b>&'/" },
		{ "x", "{{#each list}}{{@index}}{{this}}{{#unless @last}},{{/unless}}{{/each}}{{#each m}}{{@key}}={{this}};{{/each}}", "03,11,22,31a=1;b=two;" },
		{ "x", "{{#each people as |p i|}}{{i}}{{p.n}}{{../name}}{{name}} {{else}}none{{/each}}", "0AnnAnn SmithAnn Smith 1bobAnn SmithAnn Smith " },
		{ "x", "{{#if no}}a{{else if (eq n 7)}}b{{else}}c{{/if}}{{#with m}}{{a}}{{/with}}{{#unless no}}u{{/unless}}", "b1u" },
		{ "x", "{{#*inline \"p\"}}[{{name}}{{q}}]{{/inline}}{{> p q=5}}{{#> none}}default{{/none}}", "[Ann Smith5]default" },
		{ "x", "\\{{name}} {{{{raw}}}}{{name}}{{{{/raw}}}} {{!-- }} --}}a {{~ n ~}} b", "{{name}} {{name}} a7b" },
		{ "x", "a\n  {{#if t}}\nb\n  {{/if}}\nc\n", "a\nb\nc\n" },
		{ "x", "{{and t no}} {{or no t}} {{gt n 3}} {{len list}} {{lookup m \"b\"}}", "false true true 4 two" },
		{ "x", "\n {{nope name}}", "!Error rendering \"x\" line 2, col 2: Helper not found nope: Helper not found nope" },
		{ "x", "\n{{#if t}}", "!Template error: invalid handlebars syntax: expected escape, expression, html_expression, decorator_expression, partial_expression, "
			"invert_tag, invert_chain_tag, helper_block_start, helper_block_end, decorator_block_start, partial_block_start, raw_block_start, hbs_comment, "
			"or hbs_comment_compact (in x:2)" },
		{ "x", "{{#*inline \"p\"}}{{> p}}{{/inline}}{{> p}}", "!Error rendering \"x\" line 1, col 17: nested too deep: nested too deep" },
	};
	check_all(TEMPLATE_HANDLEBARS, cases, ARRAY_LEN(cases));
}

static void test_static(void **state)
{
	static const char *const cases[][3] = { { "x", "{{ name }}{% if\n", "{{ name }}{% if\n" } };
	check_all(TEMPLATE_STATIC, cases, ARRAY_LEN(cases));
}

static void shout(struct buf *out, struct slice in)
{
	buf_printf(out, "%.*s!", SLICE_ARG(in));
}

static void test_hook(void **state)
{
	static const char *const cases[][3] = { { "x", "{{ name|shout }}", "Ann Smith!" }, { "x", "{{ 5|shout }}", "!invalid operation: value is not a string (in x:1)" } };
	template_add_filter("shout", shout);
	check_all(TEMPLATE_JINJA, cases, ARRAY_LEN(cases));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expressions), cmocka_unit_test(test_filters), cmocka_unit_test(test_statements), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_handlebars), cmocka_unit_test(test_static), cmocka_unit_test(test_hook),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
