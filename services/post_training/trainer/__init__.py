"""The process that trains: `python -m services.post_training.trainer <spec.json>`.

It is given a `TrainingSpec` and says what happens on stdout, one line an event: the protojson of a JobEvent without sequence (progress,
metrics, log, checkpoint, and at the end `end`). Whatever else comes out of it is a line of a library's log.

    recipe, chat, rows, encoding, packing, weights     what is trained, on what: no torch, the planner uses them too
    preparing, sequences, batches, order               rows on their way into the model
    models, sft, preference, reward, training          TRL's and PEFT's trainers, made from a recipe
    assembly, run, launch, export                      the processes
    events, reporting, saving, checkpoints, lineage    what a process says and writes
    stopping, problems, failures                       how it ends before its end
"""
