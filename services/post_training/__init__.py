"""The post-training service: data sets, trainings as durable jobs, reward scoring, synthetic data."""
