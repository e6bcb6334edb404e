/* A model in memory: see load/model.h and <lode/lode.h>. */
#include "load/model.h"
#include <string.h>
#include <sys/mman.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "load/load.h"

struct lode_model *lode_model_new(void)
{
    return lode_zalloc(sizeof(struct lode_model));
}

int lode_model_keep(struct lode_model *self, void *base, size_t len, struct lode_err *err)
{
    if (lode_grow((void **)&self->memory, &self->cap_memory, self->n_memory + 1,
                  sizeof *self->memory) < 0)
        return lode_err_nomem(err, "a list of mappings");
    self->memory[self->n_memory++] = (struct lode_memory){base, len};
    return 0;
}

void lode_model_set_version(struct lode_model *model, struct lode_version *version)
{
    model->version = *version;
    model->has_version = true;
    *version = (struct lode_version){0};
}

size_t lode_model_count(const struct lode_model *model)
{
    return model->n;
}

int lode_model_at(const struct lode_model *model, size_t i, struct lode_tensor_view *out,
                  struct lode_err *err)
{
    if (i >= model->n)
        return lode_err_set(err, LODE_NOT_FOUND, "there is no tensor %zu; the model has %zu", i,
                            model->n);
    struct lode_tensor t = lode_index_get(model->manifest->tensors, model->chosen[i]);
    *out = (struct lode_tensor_view){
        .name = t.name,
        .dtype = t.dtype,
        .rank = t.rank,
        .shape = t.rank ? t.shape : NULL,
        .fortran_order = t.fortran_order,
        .data = model->data[i],
        .len = t.len,
        .file = model->manifest->files[t.file].path,
    };
    return 0;
}

int lode_model_tensor(const struct lode_model *model, const char *name,
                      struct lode_tensor_view *out, struct lode_err *err)
{
    size_t at, low = 0, high = model->n;
    if (model->manifest->tensors && lode_index_find(model->manifest->tensors, name, &at, NULL)) {
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (model->chosen[middle] == at)
                return lode_model_at(model, middle, out, err);
            if (model->chosen[middle] < at)
                low = middle + 1;
            else
                high = middle;
        }
        return lode_err_set(err, LODE_NOT_FOUND,
                            "tensor %s was not loaded: it is not among those asked for",
                            lode_q(name));
    }
    return lode_err_set(err, LODE_NOT_FOUND, "the model has no tensor %s", lode_q(name));
}

const struct lode_version *lode_model_version(const struct lode_model *model)
{
    return model->has_version ? &model->version : NULL;
}

void lode_model_stats(const struct lode_model *model, struct lode_load_stats *out)
{
    *out = model->stats;
}

void lode_model_free(struct lode_model *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < model->n_memory; i++)
        lode_sys->munmap(model->memory[i].base, model->memory[i].len);
    for (size_t i = 0; model->own && i < model->n; i++)
        lode_free(model->own[i]);
    lode_free(model->memory);
    lode_free(model->own);
    lode_free(model->chosen);
    lode_free(model->data);
    lode_manifest_free(model->manifest);
    lode_version_release(&model->version);
    lode_free(model);
}
