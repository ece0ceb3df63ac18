"""Trainings on a Kubernetes cluster, as Kubeflow TrainJobs."""
