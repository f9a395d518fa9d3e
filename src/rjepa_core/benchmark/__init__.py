"""The benchmark use case: measure the speed of batch sizes on a machine, and recommend one."""
