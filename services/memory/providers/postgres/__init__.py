"""`remote::pgvector`: banks in PostgreSQL with pgvector, shared by any number of replicas."""
