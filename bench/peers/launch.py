"""`launch.py COMMAND...`: runs it and prints, as JSON, the milliseconds until its first line and the most memory it held, in MB.

A process of its own, and a small one (no imports that are not needed): what a fork inherits counts as the child's memory.
"""

import os
import sys
import time

seen, output = os.pipe()
begin = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, output, 1)])
os.close(output)
first = os.read(seen, 1)
ms = (time.perf_counter() - begin) * 1000
while os.read(seen, 1 << 16):
    pass
_, status, used = os.wait4(child, 0)
if status != 0 or not first:
    sys.exit(f"{sys.argv[1]} ended with {os.waitstatus_to_exitcode(status)}")
print(f'{{"ms": {ms}, "peak_mb": {used.ru_maxrss * 1024 / 1e6}}}')
