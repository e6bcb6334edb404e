/* Another machine, another boot, another file system, moved clocks: a syscall table that pretends
 * them.
 *
 * Install before the code under test starts a thread. What is not set is real.
 */
#pragma once
#include <stdint.h>
#include <time.h>

void world_install(void);
void world_uninstall(void);         /* all is real again */
void world_machine(const char *id); /* /etc/machine-id; "" for none; NULL: the real one */
void world_boot(const char *id);    /* the kernel's boot id; NULL: the real one */
void world_move_clock(clockid_t clock, int64_t ms); /* from now on this far off */
void world_file_system(uint32_t magic); /* f_type of every file system; 0: the real one */
