"""For tests and plugin authors: contract suites, the seeded backend, a store in memory.

Importing this package loads neither pytest nor hypothesis; the suites do.
"""
