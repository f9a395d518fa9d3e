"""For tests and plugin authors: contract suites, the seeded backend, a store in memory.

    plugin_suite.PluginContract             any plugin: installed, loads, describes its settings
    backend_suite.BackendContract           LLM backends and their sessions
    store_suite.StoreContract               latent stores; MaintenanceContract: their maintenance
    scheduler_suite.SchedulerContract       batch schedulers
    queue_suite.QueueContract               queues of pending work
    source_suite.SourceContract             problem sources
    probe_suite.ProbeContract               memory probes
    world_model_suite.WorldModelContract    world models
    grader_suite.GraderContract             graders of answers

An adapter's tests inherit a suite and define how to make the adapter; a failure names the broken
promise. Importing this package loads neither pytest nor hypothesis; importing the suites does, and
`rjepa[testing]` installs both.
"""
