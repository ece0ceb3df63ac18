"""Putting the result of a training into service: registered as a model, proven by an answer, answering through the gateway."""
