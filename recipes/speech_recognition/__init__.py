"""Human speech to text: the prompts of a telephone exchange, read by one voice."""
