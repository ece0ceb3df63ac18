"""`remote::openai`: any server with an API like OpenAI's."""
