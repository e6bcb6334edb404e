/* lode diff, verify, rm, restore, gc, doctor, backup, recover: keeping a root in order. Reports are JSON; what a person
 * reads is made from the same document.
 */
#include <string.h>
#include "base/clock.h"
#include "cli/cli.h"

static const char *str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "-";
}

static uint64_t num(const json_t *o, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(o, key));
}

/* Prints a report as JSON, or hands the parsed document to `print`; answers its status. */
static int report(const struct cli_args *args, int r, char *json, const struct lode_err *err, int (*print)(const struct cli_args *args, const json_t *doc))
{
    cli_call_done();
    if (r < 0)
        return cli_fail(args, err);
    json_t *doc = json_loads(json, 0, NULL);
    int status = CLI_DONE;
    if (cli_json(args))
        puts(json);
    status = print(args, doc);
    json_decref(doc);
    lode_string_free(json);
    return status;
}

/* ---- diff ---- */

static size_t diff_part(const struct cli_args *args, const json_t *doc, const char *what)
{
    static const char *const kinds[] = {"added", "removed", "changed"};
    static const char marks[] = "+-~";
    const json_t *part = json_object_get(doc, what);
    size_t total = 0, i;
    json_t *item;
    for (size_t k = 0; k < LODE_ARRAY_LEN(kinds); k++) {
        json_array_foreach(json_object_get(part, kinds[k]), i, item) {
            const char *name = json_is_string(item) ? json_string_value(item) : str(item, json_object_get(item, "path") ? "path" : "name");
            total++;
            if (!cli_json(args) && !cli_quiet(args))
                printf("%c %.*s %s\n", marks[k], (int)strlen(what) - 1, what, name);
        }
    }
    return total;
}

static int print_diff(const struct cli_args *args, const json_t *doc)
{
    size_t n = diff_part(args, doc, "files") + diff_part(args, doc, "tensors");
    if (n == 0 && !cli_json(args) && !cli_quiet(args))
        puts("the same");
    return n && cli_flag(args, "exit-code") ? CLI_FAILED : CLI_DONE;
}

static int run_diff(const struct cli_args *args)
{
    struct lode *lode = NULL;
    struct lode_err err = {0};
    char *json = NULL;
    int status = cli_open(args, &lode);
    if (status)
        return status;
    int r = lode_diff(lode, args->words[0], args->words[1], &json, &err);
    lode_close(lode);
    return report(args, r, json, &err, print_diff);
}

static const struct cli_option diff_options[] = {
    {"exit-code", 0, CLI_FLAG, NULL, "exit with 1 if they differ"},
    {0},
};

const struct cli_command cli_cmd_diff = {
    .name = "diff", .args = "REF REF", .min_args = 2, .max_args = 2, .run = run_diff, .options = diff_options,
    .summary = "compare the files and tensors of two versions",
    .text = "Example:\n  lode diff rank@prod rank@canary",
};

/* ---- verify ---- */

static int print_verify(const struct cli_args *args, const json_t *doc)
{
    size_t i;
    json_t *fault;
    char bytes[CLI_TEXT];
    bool clean = json_is_true(json_object_get(doc, "clean"));
    json_array_foreach(json_object_get(doc, "faults"), i, fault)
        fprintf(stderr, "lode: %s@%s: %s: %s\n", str(fault, "name"), str(fault, "version"), str(fault, "path"), str(fault, "message"));
    if (!cli_json(args) && !cli_quiet(args))
        printf("%s: %llu versions, %llu files, %s\n", clean ? "clean" : "NOT clean", (unsigned long long)num(doc, "versions"),
               (unsigned long long)num(doc, "files"), cli_bytes(num(doc, "bytes"), bytes));
    return clean ? CLI_DONE : CLI_FAILED;
}

static int run_verify(const struct cli_args *args)
{
    struct lode *lode = NULL;
    struct lode_err err = {0};
    char *json = NULL;
    bool all = cli_flag(args, "all");
    if (all == (args->n_words == 1))
        return cli_usage(args, "say a REF or --all");
    int status = cli_open(args, &lode);
    if (status)
        return status;
    int r = lode_verify(lode, all ? NULL : args->words[0], cli_call(args), &json, &err);
    lode_close(lode);
    return report(args, r, json, &err, print_verify);
}

static const struct cli_option verify_options[] = {
    {"all", 0, CLI_FLAG, NULL, "every version"},
    {0},
};

const struct cli_command cli_cmd_verify = {
    .name = "verify", .args = "REF|--all", .max_args = 1, .run = run_verify, .options = verify_options,
    .summary = "read every byte and compare it with its digest",
    .text = "Exits with 1 and names file and block where something does not match.",
};

/* ---- rm, restore ---- */

static int run_rm(const struct cli_args *args)
{
    struct lode *lode = NULL;
    struct lode_err err = {0};
    struct lode_version v = {0};
    char model[300], size[CLI_TEXT];
    bool dry = cli_flag(args, "dry-run");
    int status = cli_open(args, &lode);
    if (status)
        return status;
    int r = lode_remove(lode, args->words[0], true, cli_call(args), &v, &err);
    if (r == 0 && !dry) {
        bool yes = cli_confirm(args, "Delete %s@%s (%s)? 'lode restore' can undo it for 24 hours.",
                               cli_model_name(v.ns, v.name, model), v.version, cli_bytes(v.size, size));
        /* The version that was shown is the one that goes, even if an alias moved meanwhile. */
        char ref[700];
        snprintf(ref, sizeof ref, "%s@%s", model, v.version);
        lode_version_release(&v);
        if (!yes) {
            lode_close(lode);
            return CLI_USAGE;
        }
        r = lode_remove(lode, ref, false, cli_call(args), &v, &err);
    }
    lode_close(lode);
    if (r < 0)
        return cli_fail(args, &err);
    return cli_done_version(args, &v, dry ? "Would delete %s@%s and free %s" : "Deleted %s@%s; gc will free %s",
                            cli_model_name(v.ns, v.name, model), v.version, cli_bytes(v.size, size));
}

static const struct cli_option rm_options[] = {
    {"dry-run", 'n', CLI_FLAG, NULL, "only say what would be freed"},
    {"yes", 'y', CLI_FLAG, NULL, "do not ask"},
    {"message", 'm', CLI_VALUE, "WHY", "why, for the journal"},
    {0},
};

const struct cli_command cli_cmd_rm = {
    .name = "rm", .args = "REF", .min_args = 1, .max_args = 1, .run = run_rm, .options = rm_options,
    .summary = "delete a version",
    .text = "Refused while an alias or a reader holds it. The bytes go with 'lode gc' after 24 hours; until\n"
            "then 'lode restore' brings it back. Its name is never given again.",
};

static int run_restore(const struct cli_args *args)
{
    struct lode *lode = NULL;
    struct lode_err err = {0};
    struct lode_version v = {0};
    char model[300];
    int status = cli_open(args, &lode);
    if (status)
        return status;
    int r = lode_restore(lode, args->words[0], cli_call(args), &v, &err);
    lode_close(lode);
    return r < 0 ? cli_fail(args, &err)
                 : cli_done_version(args, &v, "Restored %s@%s", cli_model_name(v.ns, v.name, model), v.version);
}

static const struct cli_option restore_options[] = {
    {"message", 'm', CLI_VALUE, "WHY", "why, for the journal"},
    {0},
};

const struct cli_command cli_cmd_restore = {
    .name = "restore", .args = "REF", .min_args = 1, .max_args = 1, .run = run_restore, .options = restore_options,
    .summary = "undo rm, before gc has freed the bytes",
    .text = "REF names the version or its number.",
};

/* ---- gc ---- */

static int print_gc(const struct cli_args *args, const json_t *doc)
{
    size_t i;
    json_t *item;
    char bytes[CLI_TEXT];
    if (cli_json(args))
        return CLI_DONE;
    json_array_foreach(json_object_get(doc, "foreign"), i, item)
        fprintf(stderr, "lode: foreign, left alone: %s\n", json_is_string(item) ? json_string_value(item) : str(item, "key"));
    if (!cli_quiet(args))
        printf("%s %s in %zu places\n", json_is_true(json_object_get(doc, "dry_run")) ? "Would free" : "Freed",
               cli_bytes(num(doc, "bytes"), bytes), json_array_size(json_object_get(doc, "freed")));
    return CLI_DONE;
}

static int run_gc(const struct cli_args *args)
{
    struct lode *lode = NULL;
    struct lode_err err = {0};
    char *json = NULL;
    struct lode_gc_options o = {.grace_ms = -1, .dry_run = cli_flag(args, "dry-run")};
    const char *grace = cli_value(args, "grace");
    if (grace && lode_duration_parse(grace, &o.grace_ms, &err) < 0)
        return cli_usage(args, "%s", err.text);
    int status = cli_open(args, &lode);
    if (status)
        return status;
    o.call = cli_call(args);
    int r = lode_gc(lode, &o, &json, &err);
    lode_close(lode);
    return report(args, r, json, &err, print_gc);
}

static const struct cli_option gc_options[] = {
    {"grace", 0, CLI_VALUE, "TIME", "keep what was deleted later than this ago (24h)"},
    {"dry-run", 'n', CLI_FLAG, NULL, "only say what would be freed"},
    {"yes", 'y', CLI_FLAG, NULL, "do not ask"},
    {0},
};

const struct cli_command cli_cmd_gc = {
    .name = "gc", .args = "", .max_args = 0, .run = run_gc, .options = gc_options,
    .summary = "free the bytes of deleted versions and abandoned pushes",
    .text = "Works from records alone: nothing that is live, in use, or that Lode did not write is touched.",
};

/* ---- doctor, backup, recover ---- */

static int print_doctor(const struct cli_args *args, const json_t *doc)
{
    size_t i;
    json_t *check;
    bool ok = json_is_true(json_object_get(doc, "ok"));
    if (!cli_json(args)) {
        json_array_foreach(json_object_get(doc, "checks"), i, check)
            printf("%-5s %-18s %s\n", str(check, "status"), str(check, "name"), str(check, "message"));
    }
    return ok ? CLI_DONE : CLI_FAILED;
}

static int run_doctor(const struct cli_args *args)
{
    struct lode *lode = NULL;
    struct lode_err err = {0};
    char *json = NULL;
    int status = cli_open(args, &lode);
    if (status)
        return status;
    int r = lode_doctor(lode, &json, &err);
    lode_close(lode);
    return report(args, r, json, &err, print_doctor);
}

const struct cli_command cli_cmd_doctor = {
    .name = "doctor", .args = "", .max_args = 0, .run = run_doctor,
    .summary = "check the root, the store, the coord and this machine",
};

static int print_path(const struct cli_args *args, const json_t *doc)
{
    if (!cli_json(args))
        printf("%s\n", str(doc, "path"));
    return CLI_DONE;
}

static int run_backup(const struct cli_args *args)
{
    struct lode *lode = NULL;
    struct lode_err err = {0};
    char *json = NULL;
    int status = cli_open(args, &lode);
    if (status)
        return status;
    int r = lode_backup(lode, args->words[0], &json, &err);
    lode_close(lode);
    return report(args, r, json, &err, print_path);
}

const struct cli_command cli_cmd_backup = {
    .name = "backup", .args = "FILE", .min_args = 1, .max_args = 1, .run = run_backup,
    .summary = "copy the facts of an embedded root, while it is used",
    .text = "The bytes of the models are files: back them up as files. 'lode recover' puts the facts back.",
};

static int run_recover(const struct cli_args *args)
{
    struct lode_open_options options;
    struct lode_err err = {0};
    char *json = NULL;
    int status = cli_open_options(args, &options);
    if (status)
        return status;
    if (!cli_confirm(args, "Replace the facts of the root by those in %s?", args->words[0]))
        return CLI_USAGE;
    int r = lode_recover(args->words[0], &options, &json, &err);
    return report(args, r, json, &err, print_path);
}

static const struct cli_option recover_options[] = {
    {"yes", 'y', CLI_FLAG, NULL, "do not ask"},
    {0},
};

const struct cli_command cli_cmd_recover = {
    .name = "recover", .args = "FILE", .min_args = 1, .max_args = 1, .run = run_recover, .options = recover_options,
    .summary = "put the facts of a backup back in place",
};
