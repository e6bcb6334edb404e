/* Parsing filters and sort keys: see catalog/filter.h. Recursive descent; depth, length and terms
 * are bounded. */
#include "catalog/filter.h"
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "model/record.h"

#define DEPTH_MAX 64 /* parentheses and NOTs inside each other */
#define SHOWN 24     /* bytes shown on each side of an error */

struct parser {
    const char *text, *at;
    unsigned depth, terms;
    struct lode_err *err;
};

/* ---- messages ---- */

static int refuse(struct parser *p, const char *at, const char *why)
{
    size_t before = (size_t)(at - p->text), after = strlen(at);
    size_t from = before > SHOWN ? before - SHOWN : 0;
    size_t shown = lode_min(after, (size_t)SHOWN);
    while (from && ((unsigned char)p->text[from] & 0xc0) == 0x80)
        from--;
    while (shown < after && ((unsigned char)at[shown] & 0xc0) == 0x80)
        shown++;
    return lode_err_set(p->err, LODE_INVALID,
                        "cannot read the filter at byte %zu: %s: %s%.*s^%.*s%s", before + 1, why,
                        from ? "..." : "", (int)(before - from), p->text + from, (int)shown, at,
                        shown < after ? "..." : "");
}

static int nomem(struct parser *p)
{
    return lode_err_nomem(p->err, "a filter");
}

/* ---- words ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

static void skip_space(struct parser *p)
{
    while (is_space(*p->at))
        p->at++;
}

static size_t word_length(const char *at)
{
    size_t n = 0;
    while (is_word(at[n]))
        n++;
    return n;
}

static bool same_word(const char *at, size_t len, const char *word)
{
    for (size_t i = 0; i < len; i++) {
        char c = at[i] >= 'a' && at[i] <= 'z' ? (char)(at[i] - 32) : at[i];
        if (c != word[i])
            return false;
    }
    return word[len] == 0;
}

/* Takes the keyword (upper case; the text may use either) if it comes next. */
static bool take_word(struct parser *p, const char *word)
{
    skip_space(p);
    size_t n = word_length(p->at);
    if (n == 0 || n > strlen(word) || !same_word(p->at, n, word))
        return false;
    p->at += n;
    return true;
}

static bool take_char(struct parser *p, char c)
{
    skip_space(p);
    if (*p->at != c)
        return false;
    p->at++;
    return true;
}

/* ---- fields ---- */

static const char *const field_names[] = {"name", "version", "format", "state",
                                          "seq",  "created", "size",   "parameters"};

bool lode_field_is_text(enum lode_field_kind kind)
{
    return kind <= LODE_FIELD_STATE || kind == LODE_FIELD_TAG;
}

/* `odd key`, a backtick inside written twice. */
static int take_backticks(struct parser *p, char key[LODE_TAG_KEY_MAX + 1])
{
    const char *start = p->at++;
    size_t n = 0;
    for (;; p->at++) {
        if (*p->at == 0)
            return refuse(p, start, "the backtick is not closed");
        if (*p->at == '`' && p->at[1] != '`')
            break;
        if (*p->at == '`')
            p->at++;
        if (n >= LODE_TAG_KEY_MAX)
            return refuse(p, start, "the key is too long");
        key[n++] = *p->at;
    }
    p->at++;
    key[n] = 0;
    return n ? 0 : refuse(p, start, "the key is empty");
}

static int take_key(struct parser *p, char key[LODE_TAG_KEY_MAX + 1])
{
    if (*p->at == '`')
        return take_backticks(p, key);
    size_t n = word_length(p->at);
    if (n == 0)
        return refuse(p, p->at, "a key is expected here; odd ones go in backticks");
    if (n > LODE_TAG_KEY_MAX)
        return refuse(p, p->at, "the key is too long");
    memcpy(key, p->at, n);
    key[n] = 0;
    p->at += n;
    return 0;
}

static bool take_prefix(struct parser *p, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(p->at, prefix, n) != 0)
        return false;
    p->at += n;
    return true;
}

static int take_field(struct parser *p, struct lode_field *out)
{
    skip_space(p);
    if (take_prefix(p, "tags.")) {
        out->kind = LODE_FIELD_TAG;
        return take_key(p, out->key);
    }
    if (take_prefix(p, "metrics.")) {
        out->kind = LODE_FIELD_METRIC;
        return take_key(p, out->key);
    }
    size_t n = word_length(p->at);
    for (unsigned i = 0; i < LODE_ARRAY_LEN(field_names); i++) {
        if (strlen(field_names[i]) == n && memcmp(p->at, field_names[i], n) == 0) {
            out->kind = (enum lode_field_kind)i;
            p->at += n;
            return 0;
        }
    }
    return refuse(p, p->at,
                  "a field is expected here: name, version, seq, created, size, format, "
                  "parameters, state, tags.x "
                  "or metrics.x");
}

/* ---- values ---- */

/* 'text', a quote inside written twice. */
static int take_text(struct parser *p, char **out, size_t *len)
{
    const char *start = p->at;
    if (*p->at != '\'')
        return refuse(p, p->at, "a text in single quotes is expected here");
    char *text = lode_alloc(strlen(p->at) + 1);
    size_t n = 0;
    if (!text)
        return nomem(p);
    for (p->at++;; p->at++) {
        if (*p->at == 0) {
            lode_free(text);
            return refuse(p, start, "the quote is not closed");
        }
        if (*p->at == '\'' && p->at[1] != '\'')
            break;
        if (*p->at == '\'')
            p->at++;
        text[n++] = *p->at;
    }
    p->at++;
    text[n] = 0;
    *out = text;
    *len = n;
    return 0;
}

static size_t digits(const char *at)
{
    size_t n = 0;
    while (at[n] >= '0' && at[n] <= '9')
        n++;
    return n;
}

/* Length of [+-]digits[.digits][e[+-]digits] or [+-].digits; 0 if it is no number. */
static size_t number_length(const char *at)
{
    size_t n = *at == '-' || *at == '+';
    size_t whole = digits(at + n), part = 0;
    n += whole;
    if (at[n] == '.') {
        part = digits(at + n + 1);
        n += 1 + part;
    }
    if (whole + part == 0)
        return 0;
    if (at[n] == 'e' || at[n] == 'E') {
        size_t sign = at[n + 1] == '-' || at[n + 1] == '+';
        size_t power = digits(at + n + 1 + sign);
        n += power ? 1 + sign + power : 0;
    }
    return n;
}

/* Independent of the host program's locale. */
static int take_number(struct parser *p, double *out)
{
    const char *start = p->at;
    size_t n = number_length(start);
    if (n == 0 || is_word(start[n]))
        return refuse(p, start, "a number is expected here");
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c)
        return nomem(p);
    char *end;
    double value = strtod_l(start, &end, c);
    freelocale(c);
    if (!isfinite(value) || end != start + n)
        return refuse(p, start, "the number does not fit a double");
    p->at = end;
    *out = value;
    return 0;
}

static int take_time(struct parser *p, double *out)
{
    const char *start = p->at;
    _cleanup_free_ char *text = NULL;
    size_t len;
    int64_t ms;
    int r = take_text(p, &text, &len);
    if (r < 0)
        return r;
    if (strlen(text) != len || lode_time_parse(text, &ms, NULL) < 0)
        return refuse(p, start, "a time is expected here, as in '2026-11-21T09:30:00Z'");
    *out = (double)ms;
    return 0;
}

static int take_state(struct parser *p, const char *start, const char *text)
{
    enum lode_state state;
    if (lode_state_of_name(text, &state, NULL) == 0)
        return 0;
    return refuse(p, start, "a state is staging, publishing, committed or deleted");
}

static int take_value(struct parser *p, struct lode_filter_node *node,
                      struct lode_filter_value *out)
{
    skip_space(p);
    const char *start = p->at;
    if (node->field.kind == LODE_FIELD_CREATED)
        return take_time(p, &out->number);
    if (!lode_field_is_text(node->field.kind))
        return take_number(p, &out->number);
    int r = take_text(p, &out->text, &out->len);
    bool pattern = node->op == LODE_FILTER_LIKE || node->op == LODE_FILTER_ILIKE;
    if (r == 0 && node->field.kind == LODE_FIELD_STATE && !pattern)
        r = take_state(p, start, out->text);
    return r;
}

/* ---- comparisons ---- */

static int take_operator(struct parser *p, enum lode_filter_op *out)
{
    static const struct {
        const char *sign;
        enum lode_filter_op op;
    } signs[] = {{"!=", LODE_FILTER_NE}, {"<=", LODE_FILTER_LE}, {">=", LODE_FILTER_GE},
                 {"=", LODE_FILTER_EQ},  {"<", LODE_FILTER_LT},  {">", LODE_FILTER_GT}};
    skip_space(p);
    for (unsigned i = 0; i < LODE_ARRAY_LEN(signs); i++) {
        if (take_prefix(p, signs[i].sign)) {
            *out = signs[i].op;
            return 0;
        }
    }
    if (take_word(p, "IN"))
        *out = LODE_FILTER_IN;
    else if (take_word(p, "LIKE"))
        *out = LODE_FILTER_LIKE;
    else if (take_word(p, "ILIKE"))
        *out = LODE_FILTER_ILIKE;
    else
        return refuse(
            p, p->at,
            "=, !=, <, <=, >, >=, IN, LIKE or ILIKE is expected here; NOT goes before the field");
    return 0;
}

static int take_list(struct parser *p, struct lode_filter_node *node)
{
    size_t cap = 0;
    if (!take_char(p, '('))
        return refuse(p, p->at, "a list in parentheses is expected here");
    do {
        if (lode_grow((void **)&node->values, &cap, node->n_values + 1, sizeof *node->values) < 0)
            return nomem(p);
        struct lode_filter_value *v = &node->values[node->n_values++];
        memset(v, 0, sizeof *v);
        int r = take_value(p, node, v);
        if (r < 0)
            return r;
    } while (take_char(p, ','));
    return take_char(p, ')') ? 0 : refuse(p, p->at, "a ',' or ')' is expected here");
}

static int take_comparison(struct parser *p, struct lode_filter_node *node)
{
    if (++p->terms > LODE_FILTER_TERMS_MAX)
        return lode_err_set(p->err, LODE_LIMIT, "the filter has more than %d comparisons",
                            LODE_FILTER_TERMS_MAX);
    int r = take_field(p, &node->field);
    if (r < 0)
        return r;
    skip_space(p);
    const char *at = p->at;
    r = take_operator(p, &node->op);
    if (r < 0)
        return r;
    if (node->op >= LODE_FILTER_LIKE && !lode_field_is_text(node->field.kind))
        return refuse(p, at, "only texts can be LIKE something");
    if (node->op == LODE_FILTER_IN)
        return take_list(p, node);
    node->values = lode_calloc(1, sizeof *node->values);
    if (!node->values)
        return nomem(p);
    node->n_values = 1;
    return take_value(p, node, &node->values[0]);
}

/* ---- structure ---- */

static int parse_or(struct parser *p, struct lode_filter_node **out);

static int parse_inner(struct parser *p, struct lode_filter_node **out);

/* NOT x, (x) or a comparison. */
static int parse_unary(struct parser *p, struct lode_filter_node **out)
{
    if (++p->depth > DEPTH_MAX)
        return refuse(p, p->at, "too many NOTs and parentheses inside each other");
    int r = parse_inner(p, out);
    p->depth--;
    return r;
}

static int parse_inner(struct parser *p, struct lode_filter_node **out)
{
    skip_space(p);
    if (take_char(p, '(')) {
        int r = parse_or(p, out);
        return r < 0 || take_char(p, ')') ? r : refuse(p, p->at, "AND, OR or ')' is expected here");
    }
    _cleanup_filter_ struct lode_filter_node *node = lode_zalloc(sizeof *node);
    if (!node)
        return nomem(p);
    bool negated = take_word(p, "NOT");
    node->op = negated ? LODE_FILTER_NOT : LODE_FILTER_EQ;
    int r = negated ? parse_unary(p, &node->a) : take_comparison(p, node);
    if (r == 0)
        *out = lode_steal(node);
    return r;
}

/* x <word> x <word> x ...: a chain that leans to the left. */
static int parse_chain(struct parser *p, const char *word, enum lode_filter_op op,
                       int (*operand)(struct parser *, struct lode_filter_node **),
                       struct lode_filter_node **out)
{
    _cleanup_filter_ struct lode_filter_node *left = NULL;
    int r = operand(p, &left);
    while (r == 0 && take_word(p, word)) {
        struct lode_filter_node *both = lode_zalloc(sizeof *both);
        if (!both)
            return nomem(p);
        both->op = op;
        both->a = left;
        left = both;
        r = operand(p, &both->b);
    }
    if (r == 0)
        *out = lode_steal(left);
    return r;
}

static int parse_and(struct parser *p, struct lode_filter_node **out)
{
    return parse_chain(p, "AND", LODE_FILTER_AND, parse_unary, out);
}

static int parse_or(struct parser *p, struct lode_filter_node **out)
{
    return parse_chain(p, "OR", LODE_FILTER_OR, parse_and, out);
}

static int check_text(const char *text, struct lode_err *err)
{
    size_t len = strlen(text);
    if (len > LODE_FILTER_MAX)
        return lode_err_set(err, LODE_LIMIT, "the filter is %zu bytes long; at most %d are allowed",
                            len, LODE_FILTER_MAX);
    if (lode_utf8_valid(text, len) != len)
        return lode_err_set(err, LODE_INVALID, "the filter is not valid UTF-8 at byte %zu",
                            lode_utf8_valid(text, len) + 1);
    return 0;
}

int lode_filter_parse(const char *text, struct lode_filter_node **out, struct lode_err *err)
{
    struct parser p = {.text = text, .at = text, .err = err};
    _cleanup_filter_ struct lode_filter_node *node = NULL;
    int r = check_text(text, err);
    r = r < 0 ? r : parse_or(&p, &node);
    skip_space(&p);
    if (r == 0 && *p.at)
        r = refuse(&p, p.at, "AND, OR or the end is expected here");
    if (r == 0)
        *out = lode_steal(node);
    return r;
}

void lode_filter_free(struct lode_filter_node *node)
{
    /* Chains lean to the left: walking down there keeps the recursion as shallow as the parser's.
     */
    while (node) {
        struct lode_filter_node *left = node->a;
        lode_filter_free(node->b);
        for (size_t i = 0; i < node->n_values; i++)
            lode_free(node->values[i].text);
        lode_free(node->values);
        lode_free(node);
        node = left;
    }
}

int lode_sort_parse(const char *text, struct lode_sort *out, struct lode_err *err)
{
    struct lode_sort sort = {0};
    struct parser p = {.text = text, .at = text, .err = err};
    int r = check_text(text, err);
    r = r < 0 ? r : take_field(&p, &sort.field);
    if (r < 0)
        return lode_err_set(
            err, r,
            "cannot sort by %s: a sort is a field (name, version, seq, created, size, format, "
            "parameters, state, tags.x, metrics.x) and perhaps :asc or :desc",
            lode_q(text));
    sort.descending = strcmp(p.at, ":desc") == 0;
    if (*p.at && !sort.descending && strcmp(p.at, ":asc") != 0)
        return lode_err_set(err, LODE_INVALID,
                            "cannot sort by %s: a field is followed by :asc, :desc or nothing",
                            lode_q(text));
    *out = sort;
    return 0;
}
