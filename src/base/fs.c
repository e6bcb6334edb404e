/* Kinds of file systems: see base/fs.h. */
#include "base/fs.h"
#include <stddef.h>
#include "base/attr.h"

struct magic {
    uint32_t magic; /* f_type of statfs(2) */
    const char *name;
};

static const struct magic not_local[] = {
    {0x6969, "NFS"},
    {0x517b, "SMB"},
    {0xff534d42, "CIFS"},
    {0xfe534d42, "SMB2"},
    {0x65735546, "FUSE"},
    {0x01021997, "9p"},
    {0x0bd00bd0, "Lustre"},
    {0x47504653, "GPFS"},
    {0x00c36400, "Ceph"},
    {0x5346414f, "AFS"},
    {0x6b414653, "AFS"},
    {0x73757245, "Coda"},
    {0x564c, "NCP"},
    {0x7461636f, "OCFS2"},
    {0x01161970, "GFS2"},
    {0x19830326, "BeeGFS"},
    {0x786f4256, "VirtualBox shared folder"},
    {0xbacbacbc, "VMware shared folder"},
    {0xaad7aaea, "PanFS"},
    {0x20030528, "OrangeFS"},
};

const char *lode_fs_not_local(uint32_t f_type)
{
    for (size_t i = 0; i < LODE_ARRAY_LEN(not_local); i++) {
        if (not_local[i].magic == f_type)
            return not_local[i].name;
    }
    return NULL;
}
