/* Filters and sort keys: what parses keeps the laws of logic on a fixed version: NOT turns the
 * answer round, AND with itself and OR with its own opposite do what they must. */
#include <stdio.h>
#include <string.h>
#include "catalog/filter.h"
#include "fuzz/fuzz.h"

static char odd_key[] = "odd key", odd_value[] = "v'", team_key[] = "team", team_value[] = "search";
static char auc[] = "auc", loss[] = "loss", ns[] = "_", name[] = "rank-a",
            id[] = "20261121T093000Z", format[] = "npy";
static struct lode_tag tags[] = {{odd_key, odd_value}, {team_key, team_value}};
static struct lode_metric metrics[] = {{auc, 0.91}, {loss, -1e-3}};
static const struct lode_version fixed = {
    .ns = ns,
    .name = name,
    .version = id,
    .seq = 3,
    .state = LODE_COMMITTED,
    .created_ms = 1795253400000,
    .size = 1048576,
    .format = format,
    .tags = tags,
    .n_tags = 2,
    .metrics = metrics,
    .n_metrics = 2,
};

/* 0 or 1; -1 where the text does not parse. */
static int ask(const char *text)
{
    struct lode_filter_node *node = NULL;
    struct lode_err err = {0};
    int r = lode_filter_parse(text, &node, &err);
    if (r < 0) {
        must(r == LODE_INVALID || r == LODE_LIMIT);
        must(err.text[0] != 0);
        return -1;
    }
    int answer = lode_filter_match(node, &fixed);
    lode_filter_free(node);
    return answer;
}

/* The text between `before` and `between`, and again (unless `between` is NULL) up to ")". */
static void law(const char *before, const char *text, const char *between, int expected)
{
    char longer[3 * 1200];
    snprintf(longer, sizeof longer, "%s%s%s%s)", before, text, between ? between : "",
             between ? text : "");
    int answer = ask(longer);
    must(answer == expected || answer == -1); /* -1: over the limit of terms or of nesting */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[1024];
    struct lode_sort sort;
    if (size >= sizeof text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    (void)!lode_sort_parse(text, &sort, NULL);
    int answer = ask(text);
    if (answer < 0 || strspn(text, " \t\r\n") == strlen(text))
        return 0;
    law("NOT (", text, NULL, !answer);
    law("(", text, ") AND (", answer);
    law("(", text, ") OR NOT (", 1);
    law("(", text, ") AND NOT (", 0);
    return 0;
}
