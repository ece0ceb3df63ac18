"""Where trainings run; one adapter a file."""
