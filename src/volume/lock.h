/* volume_lock is public: see remapfs/volume.h. */
#include "remapfs/volume.h"
