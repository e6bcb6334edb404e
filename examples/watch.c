/* Prints every change of a model as it happens, until it is interrupted:
 *
 *     cc watch.c $(pkg-config --cflags --libs lode) -o watch
 *     ./watch rank
 */
#include <lode/lode.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct lode *lode = NULL;
    struct lode_watch *watch = NULL;
    struct lode_err err;
    int r = lode_open(NULL, &lode, &err);
    if (r == 0)
        r = lode_watch_open(lode, argc > 1 ? argv[1] : NULL, NULL, &watch, &err);
    while (r == 0) {
        struct lode_journal_entry e;
        r = lode_watch_next(watch, -1, &e, &err);
        if (r < 0)
            break;
        printf("%s %s: %s -> %s by %s%s%s\n", e.name,
               e.alias ? e.alias : lode_change_name(e.change), e.from ? e.from : "-",
               e.to ? e.to : "-", e.who, e.why ? ": " : "", e.why ? e.why : "");
        fflush(stdout);
        lode_journal_entry_release(&e);
    }
    fprintf(stderr, "%s: %s\n", lode_code_name(r), err.text);
    lode_watch_close(watch);
    lode_close(lode);
    return 1;
}
