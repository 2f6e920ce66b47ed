"""A trained model behind the HTTP API of OpenAI. ``app.create_app`` makes the application, ``run.serve`` runs it."""
