/* The table of routes and the OpenAPI document tell of the same operations, with the same paths,
 * scopes and query parameters; and every object of the document says what it consists of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "server/openapi.h"
#include "server/srv.h"

static json_t *doc;

static json_t *operation(const char *path, const char *method)
{
    char lower[16] = "";
    for (size_t i = 0; method[i] && i + 1 < sizeof lower; i++)
        lower[i] = (char)tolower((unsigned char)method[i]);
    return json_object_get(json_object_get(json_object_get(doc, "paths"), path), lower);
}

static json_t *parameter(json_t *p)
{
    const char *ref = json_string_value(json_object_get(p, "$ref"));
    if (!ref)
        return p;
    json_t *all = json_object_get(json_object_get(doc, "components"), "parameters");
    return json_object_get(all, strrchr(ref, '/') + 1);
}

static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = words; at && (at = strstr(at, word)); at++)
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

static void check_query(const struct srv_route *route, json_t *op)
{
    size_t i, told = 0, known = route->query && *route->query ? 1 : 0;
    json_t *p;
    for (const char *c = route->query; c && *c; c++)
        known += *c == ' ';
    json_array_foreach(json_object_get(op, "parameters"), i, p)
    {
        p = parameter(p);
        if (strcmp(json_string_value(json_object_get(p, "in")), "query") != 0)
            continue;
        told++;
        if (!has_word(route->query, json_string_value(json_object_get(p, "name"))))
            fail_msg("%s does not take %s", route->operation,
                     json_string_value(json_object_get(p, "name")));
    }
    if (told != known)
        fail_msg("%s: %zu query parameters in the document, %zu in the table", route->operation,
                 told, known);
}

static void same_operations(void **state)
{
    size_t n, described = 0;
    const struct srv_route *routes = srv_routes(&n);
    const char *path, *method;
    json_t *methods, *op;
    for (size_t i = 0; i < n; i++) {
        op = operation(routes[i].path, routes[i].method);
        if (!op)
            fail_msg("%s %s is not described", routes[i].method, routes[i].path);
        assert_string_equal(json_string_value(json_object_get(op, "operationId")),
                            routes[i].operation);
        const char *scope = routes[i].scope ? lode_scope_name(routes[i].scope) : "none";
        assert_string_equal(json_string_value(json_object_get(op, "x-lode-scope")), scope);
        assert_int_equal(json_object_get(op, "requestBody") != NULL,
                         routes[i].body != SRV_BODY_NONE);
        check_query(&routes[i], op);
    }
    json_object_foreach(json_object_get(doc, "paths"), path, methods)
        json_object_foreach(methods, method, op) described++;
    assert_int_equal(described, n);
}

/* Free-form objects say so by additionalProperties or a description; all others are closed. */
static void check_closed(const json_t *schema, const char *where)
{
    const char *key;
    json_t *value;
    if (json_is_array(schema)) {
        size_t i;
        json_array_foreach(schema, i, value) check_closed(value, where);
    }
    if (!json_is_object(schema))
        return;
    if (json_object_get(schema, "properties") &&
        !json_is_false(json_object_get(schema, "additionalProperties")))
        fail_msg("an object of %s is open", where);
    json_object_foreach((json_t *)(uintptr_t)schema, key, value) check_closed(value, where);
}

static void closed_objects(void **state)
{
    const char *name;
    json_t *schema;
    json_object_foreach(json_object_get(json_object_get(doc, "components"), "schemas"), name,
                        schema) check_closed(schema, name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_operations),
        cmocka_unit_test(closed_objects),
    };
    doc = json_loadb(srv_openapi, srv_openapi_len, JSON_REJECT_DUPLICATES, NULL);
    if (!doc)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(doc);
    return failed;
}
