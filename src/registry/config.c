/* The configuration file: see registry/config.h. */
#include "registry/config.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "registry/dirs.h"

static const char *const context_keys[] = {"url", "store", "coord", "token", "cacert", NULL};

static json_t *contexts(const struct lode_config *self)
{
    return json_object_get(self->doc, "contexts");
}

/* Every field is known and a string, so that a typing error is told and not ignored. */
static int check_doc(json_t *doc, struct lode_err *err)
{
    static const char *const top[] = {"current", "contexts", NULL};
    const char *current, *name, *key;
    json_t *context, *value;
    int r = json_is_object(doc)
                ? lode_json_only(doc, top, "the configuration", err)
                : lode_err_set(err, LODE_INVALID, "the configuration is not a JSON object");
    if (r == 0)
        r = lode_json_opt_str(doc, "current", &current, err);
    if (r == 0 && !json_object_get(doc, "contexts") &&
        json_object_set_new(doc, "contexts", json_object()) < 0)
        r = lode_err_nomem(err, "the configuration");
    if (r == 0 && !json_is_object(json_object_get(doc, "contexts")))
        r = lode_err_set(err, LODE_INVALID, "\"contexts\" is not an object");
    if (r < 0)
        return r;
    json_object_foreach(json_object_get(doc, "contexts"), name, context)
    {
        if (!json_is_object(context))
            return lode_err_set(err, LODE_INVALID, "context %s is not an object", lode_q(name));
        if ((r = lode_json_only(context, context_keys, name, err)) < 0)
            return r;
        json_object_foreach(context, key, value)
        {
            if (!json_is_string(value))
                return lode_err_set(err, LODE_INVALID, "%s of context %s is not a string", key,
                                    lode_q(name));
        }
    }
    return 0;
}

static int empty_doc(struct lode_config *self, struct lode_err *err)
{
    self->doc = json_pack("{s:{}}", "contexts");
    return self->doc ? 0 : lode_err_nomem(err, "a configuration");
}

int lode_config_load(struct lode_config *out, struct lode_err *err)
{
    struct lode_config self = {0};
    size_t len;
    int r = lode_dir_config(&self.path, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *text = lode_read_file(AT_FDCWD, self.path, LODE_CONFIG_MAX, &len);
    if (text)
        r = lode_json_parse(text, len, "the configuration", &self.doc, err);
    else if (errno == ENOENT || errno == ENOTDIR)
        r = empty_doc(&self, err);
    else
        r = lode_err_sys(err, "cannot read the configuration");
    if (r == 0)
        r = check_doc(self.doc, err);
    if (r < 0) {
        lode_err_prefix(err, "%s", self.path);
        lode_config_release(&self);
        return r;
    }
    *out = self;
    return 0;
}

static int write_private(const char *path, const char *text, size_t len, struct lode_err *err)
{
    _cleanup_close_ int fd = lode_sys->openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || lode_write_full(fd, text, len) < 0 || lode_sys->fsync(fd) < 0)
        return lode_err_sys(err, "cannot write %s", lode_q(path));
    return 0;
}

int lode_config_save(const struct lode_config *self, struct lode_err *err)
{
    _cleanup_free_ char *text = lode_json_pretty(self->doc);
    _cleanup_free_ char *temp = lode_asprintf("%s.%ld", self->path, (long)getpid());
    if (!text || !temp)
        return lode_err_nomem(err, "the configuration");
    int r = lode_dir_make_above(self->path, 0700, err);
    if (r == 0)
        r = write_private(temp, text, strlen(text), err);
    if (r == 0 && lode_sys->renameat2(AT_FDCWD, temp, AT_FDCWD, self->path, 0) < 0)
        r = lode_err_sys(err, "cannot write %s", lode_q(self->path));
    if (r < 0)
        lode_sys->unlinkat(AT_FDCWD, temp, 0);
    return r;
}

void lode_config_release(struct lode_config *self)
{
    json_decref(self->doc);
    lode_free(self->path);
    *self = (struct lode_config){0};
}

static int no_context(const struct lode_config *self, const char *name, struct lode_err *err)
{
    _cleanup_buf_ struct lode_buf known = LODE_BUF_INIT(512);
    const char *key;
    json_t *value;
    json_object_foreach(contexts(self), key, value)
        lode_buf_addf(&known, "%s%s", known.len ? ", " : "", key);
    return lode_err_set(err, LODE_NOT_FOUND, "no context %s in %s; there %s %s", lode_q(name),
                        self->path, known.len ? "is" : "are",
                        known.len ? lode_buf_str(&known) : "none: lode config set makes one");
}

int lode_config_context(const struct lode_config *self, const char *name, struct lode_context *out,
                        struct lode_err *err)
{
    if (!name)
        name = json_string_value(json_object_get(self->doc, "current"));
    if (!name) {
        *out = (struct lode_context){0};
        return 0;
    }
    json_t *context = json_object_get(contexts(self), name);
    if (!context)
        return no_context(self, name, err);
    *out = (struct lode_context){
        .name = name,
        .url = json_string_value(json_object_get(context, "url")),
        .store = json_string_value(json_object_get(context, "store")),
        .coord = json_string_value(json_object_get(context, "coord")),
        .token = json_string_value(json_object_get(context, "token")),
        .cacert = json_string_value(json_object_get(context, "cacert")),
    };
    return 0;
}

int lode_config_set(struct lode_config *self, const struct lode_context *context,
                    struct lode_err *err)
{
    const char *const values[] = {context->url, context->store, context->coord, context->token,
                                  context->cacert};
    if (!lode_name_ok(context->name, strlen(context->name)))
        return lode_err_set(err, LODE_INVALID,
                            "%s cannot name a context: letters, digits, '.', '_' and '-'",
                            lode_q(context->name));
    if (!context->url && !(context->store && context->coord))
        return lode_err_set(err, LODE_INVALID, "context %s needs a url, or a store and a coord",
                            context->name);
    json_t *fields = json_object();
    int bad = !fields;
    for (size_t i = 0; !bad && context_keys[i]; i++)
        bad = values[i] && json_object_set_new(fields, context_keys[i], json_string(values[i])) < 0;
    if (bad || json_object_set(contexts(self), context->name, fields) < 0)
        bad = 1;
    json_decref(fields);
    if (!bad && !json_object_get(self->doc, "current"))
        bad = json_object_set_new(self->doc, "current", json_string(context->name)) < 0;
    return bad ? lode_err_nomem(err, "a context") : 0;
}

int lode_config_remove(struct lode_config *self, const char *name, struct lode_err *err)
{
    const char *current = json_string_value(json_object_get(self->doc, "current"));
    bool was_current = current && strcmp(current, name) == 0;
    if (json_object_del(contexts(self), name) < 0)
        return no_context(self, name, err);
    if (was_current)
        json_object_del(self->doc, "current");
    return 0;
}

int lode_config_use(struct lode_config *self, const char *name, struct lode_err *err)
{
    if (!json_object_get(contexts(self), name))
        return no_context(self, name, err);
    return json_object_set_new(self->doc, "current", json_string(name)) < 0
               ? lode_err_nomem(err, "a name")
               : 0;
}
