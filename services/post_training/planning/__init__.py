"""What a training would take, and whether it can be, before there is a job.

planner, worker    the service asks a process of its own, which reads rows and weights' shapes; neither imports torch
checks, search     what is wrong with a request, by field
estimate           rows, tokens, steps, memory, disk and time
base_models        the folder that a model's name means
"""
