"""`python -m services.post_training.planning`: checks and estimates trainings for the service."""

from services.post_training.planning.worker import serve

if __name__ == "__main__":
    serve()
