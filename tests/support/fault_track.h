/* The tracker behind fault_track() and fault_power_cut(): what of a directory is durable. */
#pragma once

void fault_track_synced(int fd); /* a sync of fd has succeeded */
void fault_track_end(void);      /* forgets all and closes its descriptors */
int fault_track_fds(void);       /* descriptors that it holds */
